"""The recipe of the default speech model: 16 kHz mono, 12 codebooks, about 3.3 kbit/s entropy-coded."""

import torch

from narrows.codecs.audio.frames import FrameDecoder, FrameEncoder
from narrows.codecs.bottlenecks.fsq import FSQ
from narrows.codecs.codec import Codec
from narrows.recipes.discriminators import audio_discriminators
from narrows.recipes.losses.frames import FrameMagnitudeLoss, PhaseConsistencyLoss
from narrows.recipes.losses.stft import ComplexSTFTLoss, MultiResolutionSTFTLoss
from narrows.recipes.settings import AdamW, Adversarial, AudioData, Prediction, Schedule
from narrows.recipes.training.audio import AudioRecipe

SAMPLE_RATE = 16_000
RESOLUTIONS = ((128, 0), (256, 32), (512, 64), (1024, 96), (2048, 128))  # window in samples, mel bands


def speech(
    data: AudioData = AudioData(),
    optimizer: AdamW = AdamW(),
    schedule: Schedule = Schedule(),
    adversarial: Adversarial = Adversarial(),
    signal_loss_start: int = 20_000,
    waveform_weight: float = 0.5,
    phase_weight: float = 0.3,
    iterations: int = 8,
    prediction: Prediction = Prediction(),
    seed: int = 0,
    name: str = "my-speech",
) -> AudioRecipe:
    """Train a speech codec of 50 frames per second and 12 codebooks of 1200 codes on recordings of speech.

    Args:
        data: Training and validation data.
        optimizer: Optimizer of the codec.
        schedule: Length of the run, learning-rate schedule, validation, EMA.
        adversarial: Discriminators and their losses.
        signal_loss_start: First step with losses on the decoded signal; before it only predicted magnitudes are
            compared.
        waveform_weight: Weight of the complex STFT loss, which keeps the decoded waveform in phase with the original.
        phase_weight: Weight of the loss of predicted phases that are not consistent with the magnitudes.
        iterations: Iterations of Griffin-Lim in training and in the trained model.
        prediction: Networks that predict the frequencies of codes for entropy coding.
        seed: Seed of initial weights and data.
        name: Name of the trained model, which streams and tokens carry.
    """
    dim = 116
    torch.manual_seed(seed)
    codec = Codec(
        encoder=FrameEncoder(dim, width=256, depth=4),
        bottleneck=FSQ(dim, levels=(8, 6, 5, 5), groups=12, dropout=0.3),
        decoder=FrameDecoder(dim, width=256, depth=8, iterations=iterations),
    )
    return AudioRecipe(
        name=name,
        codec=codec,
        sample_rate=SAMPLE_RATE,
        data=data,
        losses={
            "spectral": (1.0, MultiResolutionSTFTLoss(SAMPLE_RATE, RESOLUTIONS)),
            "waveform": (waveform_weight, ComplexSTFTLoss(512)),
        },
        frame_losses={"frames": (1.0, FrameMagnitudeLoss()), "phase": (phase_weight, PhaseConsistencyLoss())},
        signal_loss_start=signal_loss_start,
        pca_initialization=True,
        prediction=prediction,
        optimizer=optimizer,
        schedule=schedule,
        adversarial=adversarial,
        discriminators=audio_discriminators(adversarial.width),
        seed=seed,
    )
