"""What a training run of an image codec is made of: rate and distortion at many qualities at once."""

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from narrows.checkpoints.folder import LARGEST_LAMBDA, check_name
from narrows.codecs.codec import Codec
from narrows.codecs.layers.qualities import ANCHORS
from narrows.errors import InputError
from narrows.recipes.data.synthetic import made_up_pictures
from narrows.recipes.settings import AdamW, Schedule, _check_least

if TYPE_CHECKING:
    from narrows.recipes.training.base import Descent


@dataclass(frozen=True)
class Photos:
    """Folders of pictures, and how crops are drawn from them.

    side, batch: pixels of a crop's side, and crops a step. workers: reading processes.
    """

    train: Path = Path("data/train")
    valid: Path = Path("data/valid")
    side: int = 256
    batch: int = 8
    workers: int = 0

    def __post_init__(self) -> None:
        _check_least(32, side=self.side)  # what the smallest discriminators and entropy models see
        _check_least(1, batch=self.batch)
        _check_least(0, workers=self.workers)


@dataclass(frozen=True)
class ImageRecipe:
    """A whole training run: everything but the machine and the folder it writes to.

    lambdas: weights of the squared error (8-bit steps) against bits a pixel, from the lowest quality to the highest;
    between them they are interpolated. linear: steps at the beginning in which only the entropy model learns, from the
    linear start. straight: share of the learning rate for the linear transforms.
    """

    name: str
    codec: Codec
    data: Photos
    lambdas: tuple[float, ...]
    optimizer: AdamW
    schedule: Schedule
    linear: int = 1000
    straight: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        check_name(self.name)
        _check_least(0, linear=self.linear)
        rising = all(low < high for low, high in pairwise((0, *self.lambdas, LARGEST_LAMBDA)))
        if len(self.lambdas) != ANCHORS or not rising:
            given = str(list(self.lambdas))[:80]
            raise InputError(f"lambdas={given} given, {ANCHORS} rising numbers between 0 and a million wanted")

    def training(self) -> "Descent":
        """The run as a Lightning module."""
        from narrows.recipes.training.rate_distortion import RateDistortion

        return RateDistortion(self)

    def on_made_up_data(self, folder: Path) -> "ImageRecipe":
        """The same run on made-up pictures that are written to `folder`."""
        made_up_pictures(folder)
        return replace(self, data=replace(self.data, train=folder, valid=folder))

    def smoke(self) -> "ImageRecipe":
        """The same run cut down to seconds: every part of it is passed through once, nothing is learned."""
        return replace(
            self,
            data=replace(self.data, side=64, batch=2, workers=0),
            linear=2,
            schedule=replace(self.schedule, steps=4, rise=2, validate_every=2),
        )
