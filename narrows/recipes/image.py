"""The recipe of the default image codec: photographs at 57 qualities, with a decoder of 45 thousand FLOPs per pixel."""

import torch

from narrows.codecs.bottlenecks.entropy.space_channel import SpaceChannelContext
from narrows.codecs.codec import Codec
from narrows.codecs.image.lapped import LappedDecoder, LappedEncoder
from narrows.recipes.settings import AdamW, ImageData, Schedule
from narrows.recipes.training.rate_distortion import RateDistortionRecipe

LAMBDAS = (0.0018, 0.0035, 0.0067, 0.0130, 0.0250, 0.0483, 0.0932, 0.1800)  # as in CompressAI's models


def image(
    data: ImageData = ImageData(),
    optimizer: AdamW = AdamW(lr=1e-3, betas=(0.9, 0.98), weight_decay=0.0),
    schedule: Schedule = Schedule(steps=200_000, decay_fraction=0.4, ema_decay=0.998),
    entropy_model_steps: int = 1000,
    lambdas: tuple[float, ...] = LAMBDAS,
    seed: int = 0,
    name: str = "my-image",
) -> RateDistortionRecipe:
    """Train an image codec for all qualities on folders of photographs.

    Args:
        data: Training and validation data.
        optimizer: Optimizer of the codec.
        schedule: Length of the run, learning-rate schedule, validation, EMA.
        entropy_model_steps: First steps, in which only the entropy model is trained.
        lambdas: 8 increasing weights of the squared error (of 8-bit values) against bits per pixel, from the lowest
            quality to the highest.
        seed: Seed of initial weights and data.
        name: Name of the trained model, which streams and tokens carry.
    """
    torch.manual_seed(seed)
    return RateDistortionRecipe(
        name=name,
        codec=Codec(encoder=LappedEncoder(), bottleneck=SpaceChannelContext(), decoder=LappedDecoder()),
        data=data,
        lambdas=lambdas,
        optimizer=optimizer,
        schedule=schedule,
        entropy_model_steps=entropy_model_steps,
        seed=seed,
    )
