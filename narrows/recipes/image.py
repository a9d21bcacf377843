"""The recipe of the default image codec: photographs at 57 qualities, with a decoder of 45 thousand FLOPs a pixel."""

import torch

from narrows.codecs.bottlenecks.entropy.space_channel import SpaceChannelContext
from narrows.codecs.codec import Codec
from narrows.codecs.image.lapped import LappedDecoder, LappedEncoder
from narrows.recipes.settings import AdamW, Schedule
from narrows.recipes.training.image_recipe import ImageRecipe, Photos

LAMBDAS = (0.0018, 0.0035, 0.0067, 0.0130, 0.0250, 0.0483, 0.0932, 0.1800)  # as in the published models of the field


def image(
    data: Photos = Photos(),
    optimizer: AdamW = AdamW(lr=1e-3, betas=(0.9, 0.98), weight_decay=0.0),
    schedule: Schedule = Schedule(steps=200_000, signal=0, average=0.998, fall=0.4),
    linear: int = 1000,
    lambdas: tuple[float, ...] = LAMBDAS,
    seed: int = 0,
) -> ImageRecipe:
    """Train an image codec on folders of photographs.

    data.train, data.valid: folders with pictures of any size. optimizer, schedule: of the run. linear: steps
    at its beginning in which only the entropy model learns. lambdas: eight weights of the squared error. seed: of
    weights and data.
    """
    torch.manual_seed(seed)
    codec = Codec(encoder=LappedEncoder(), bottleneck=SpaceChannelContext(), decoder=LappedDecoder())
    return ImageRecipe("image", codec, data, lambdas, optimizer, schedule, linear, seed=seed)
