"""The recipe of video codecs: clips at 57 qualities, or tokens for generative models."""

import torch

from narrows.codecs.bottlenecks.entropy.space_time import SpaceTimeContext
from narrows.codecs.codec import Codec
from narrows.codecs.video.factorised import FactorisedDecoder, FactorisedEncoder
from narrows.recipes.settings import AdamW, Schedule, VideoData
from narrows.recipes.training.video_rate_distortion import VideoRateDistortionRecipe

LAMBDAS = (0.0004, 0.0008, 0.0016, 0.0032, 0.0064, 0.0128, 0.0256, 0.0512)
GROUPS = (8, 8, 16, 64)


def video(
    data: VideoData = VideoData(),
    optimizer: AdamW = AdamW(lr=1e-3, betas=(0.9, 0.98), weight_decay=0.0),
    schedule: Schedule = Schedule(steps=100_000, decay_fraction=0.4, ema_decay=0.998),
    entropy_model_steps: int = 300,
    flicker_weight: float = 0.1,
    lambdas: tuple[float, ...] = LAMBDAS,
    seed: int = 0,
    name: str = "my-video",
) -> VideoRateDistortionRecipe:
    """Train a video codec for all qualities on folders of clips.

    Args:
        data: Training and validation data.
        optimizer: Optimizer of the codec.
        schedule: Length of the run, learning-rate schedule, validation, EMA.
        entropy_model_steps: First steps, in which only the entropy model is trained.
        flicker_weight: Weight of the squared error of frame differences, in that of frames.
        lambdas: 8 increasing weights of the squared error (of 8-bit values) against bits per pixel, from the lowest
            quality to the highest.
        seed: Seed of initial weights and data.
        name: Name of the trained model, which streams and tokens carry.
    """
    torch.manual_seed(seed)
    dim = sum(GROUPS)
    return VideoRateDistortionRecipe(
        name=name,
        codec=Codec(FactorisedEncoder(dim), SpaceTimeContext(GROUPS), FactorisedDecoder(dim)),
        data=data,
        lambdas=lambdas,
        optimizer=optimizer,
        schedule=schedule,
        entropy_model_steps=entropy_model_steps,
        flicker_weight=flicker_weight,
        seed=seed,
    )
