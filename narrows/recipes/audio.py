"""The recipe of the default model for music and sound: 44.1 kHz stereo, up to about 24 kbit/s entropy-coded."""

import torch

from narrows.codecs.audio.frames import FrameDecoder, FrameEncoder
from narrows.codecs.bottlenecks.fsq import FSQ
from narrows.codecs.codec import Codec
from narrows.recipes.discriminators import audio_discriminators
from narrows.recipes.losses.frames import FrameMagnitudeLoss, PhaseConsistencyLoss
from narrows.recipes.losses.stft import ComplexSTFTLoss, MidSide, MultiResolutionSTFTLoss
from narrows.recipes.settings import AdamW, Adversarial, AudioData, Prediction, Schedule
from narrows.recipes.training.audio import AudioRecipe

SAMPLE_RATE = 44_100
HOP, FOLD = 256, 4  # 43 latent frames per second, of four STFT frames each
RESOLUTIONS = ((128, 20), (256, 40), (512, 80), (1024, 160), (2048, 320))  # window in samples, mel bands
FLOOR = 1e-4  # magnitude below which differences count little: 80 dB below full scale
# Levels in proportion to the deviations of the principal components of log spectra (reverse water-filling), so that all
# scalars have about the same error: 67 codebooks, 256 scalars.
LEVELS = (
    *((256,), (96,), (48, 40), (28, 25), (22, 20), (16, 16), (14, 13)),
    *((12,) * 3,) * 2,
    *((11,) * 3,) * 2,
    *((10,) * 3,) * 2,
    *((9,) * 3,) * 2,
    *((8,) * 3,) * 4,
    *((7,) * 3,) * 6,
    *((6,) * 4,) * 8,
    *((5,) * 4,) * 12,
    *((4,) * 5,) * 22,
)


def audio(
    data: AudioData = AudioData(seconds=0.75, batch_size=4, speeds=(1.0,)),
    optimizer: AdamW = AdamW(lr=6e-4),
    schedule: Schedule = Schedule(ema_decay=0.998),
    adversarial: Adversarial = Adversarial(),
    signal_loss_start: int = 0,
    waveform_weight: float = 0.3,
    phase_weight: float = 0.3,
    iterations: int = 4,
    prediction: Prediction = Prediction(width=64, dim=4),
    seed: int = 0,
    name: str = "my-audio",
) -> AudioRecipe:
    """Train a codec of stereo sound, both channels together, on recordings of 44.1 or 48 kHz.

    Args:
        data: Training and validation data.
        optimizer: Optimizer of the codec.
        schedule: Length of the run, learning-rate schedule, validation, EMA.
        adversarial: Discriminators and their losses.
        signal_loss_start: First step with losses on the decoded signal.
        waveform_weight: Weight of the complex STFT loss.
        phase_weight: Weight of the loss of predicted phases that are not consistent with the magnitudes.
        iterations: Iterations of Griffin-Lim in training and in the trained model.
        prediction: Networks that predict the frequencies of codes for entropy coding.
        seed: Seed of initial weights and data.
        name: Name of the trained model, which streams and tokens carry.
    """
    dim = sum(map(len, LEVELS))
    torch.manual_seed(seed)
    codec = Codec(
        encoder=FrameEncoder(dim, 256, 3, HOP, FOLD, channels=2, phases=False, floor=1e-5),
        bottleneck=FSQ(dim, LEVELS, dropout=0.3),
        decoder=FrameDecoder(dim, 256, 5, HOP, FOLD, iterations, channels=2),
    )
    return AudioRecipe(
        name=name,
        codec=codec,
        sample_rate=SAMPLE_RATE,
        data=data,
        losses={
            "spectral": (1.0, MidSide(MultiResolutionSTFTLoss(SAMPLE_RATE, RESOLUTIONS, FLOOR))),
            "waveform": (waveform_weight, ComplexSTFTLoss(1024)),
        },
        frame_losses={"frames": (0.5, FrameMagnitudeLoss(FLOOR)), "phase": (phase_weight, PhaseConsistencyLoss())},
        signal_loss_start=signal_loss_start,
        pca_initialization=True,
        prediction=prediction,
        optimizer=optimizer,
        schedule=schedule,
        adversarial=adversarial,
        discriminators=audio_discriminators(adversarial.width),
        seed=seed,
    )
