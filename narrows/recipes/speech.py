"""The recipe of the default speech model: 16 kHz mono, about 3 kbit/s, 1.5 with half of its codebooks."""

import torch

from narrows.codecs.audio.frames import FrameDecoder, FrameEncoder
from narrows.codecs.bottlenecks.fsq import FSQ
from narrows.codecs.codec import Codec
from narrows.recipes.discriminators.periods import MultiPeriodDiscriminator
from narrows.recipes.discriminators.spectra import MultiSpectrumDiscriminator
from narrows.recipes.losses.frames import FrameMagnitudes
from narrows.recipes.losses.spectral import ComplexDistance, SpectralDistance
from narrows.recipes.settings import AdamW, Adversary, Recipe, Schedule, Sound

SAMPLE_RATE = 16_000
RESOLUTIONS = ((128, 0), (256, 32), (512, 64), (1024, 96), (2048, 128))  # samples of the window, mel bands


def speech(
    data: Sound = Sound(),
    optimizer: AdamW = AdamW(),
    schedule: Schedule = Schedule(),
    adversary: Adversary = Adversary(),
    waveform_weight: float = 0.5,
    seed: int = 0,
) -> Recipe:
    """Train a speech codec of 50 frames a second and 7 codebooks of 1200 codes on folders of recordings.

    data.train, data.valid: folders with sound files of any rate. optimizer, schedule, adversary: of the run.
    waveform_weight: how much decoded waves are kept in step with the given ones. seed: of weights and data.
    """
    dim = 96
    torch.manual_seed(seed)
    codec = Codec(
        encoder=FrameEncoder(dim, width=256, depth=4),
        bottleneck=FSQ(dim, levels=(8, 6, 5, 5), groups=7, dropout=0.15),
        decoder=FrameDecoder(dim, width=256, depth=8),
    )
    return Recipe(
        name="speech",
        codec=codec,
        sample_rate=SAMPLE_RATE,
        data=data,
        losses={
            "spectral": (1.0, SpectralDistance(SAMPLE_RATE, RESOLUTIONS)),
            "waveform": (waveform_weight, ComplexDistance(512)),
        },
        frame_losses={"frames": (1.0, FrameMagnitudes())},
        linear_start=True,
        optimizer=optimizer,
        schedule=schedule,
        adversary=adversary,
        discriminators=[
            *MultiPeriodDiscriminator(width=adversary.width // 2),
            *MultiSpectrumDiscriminator(width=adversary.width),
        ],
        seed=seed,
    )
