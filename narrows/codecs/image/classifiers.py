"""Classifiers of images whose features can be read, and cut, between stages.

x (B, C, H, W) ─▶ stage 0 ─▶ features 0 ─▶ stage 1 ─▶ features 1 ─▶ ... ─▶ last stage ─▶ logits (B, classes)
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import ClassVar

from torch import Tensor, nn

from narrows.codecs.base import Encoder, Reach
from narrows.codecs.checks import MAX_SIZE, check_integer_lists, check_integers
from narrows.errors import InputError
from narrows.parts import part


class Classifier(nn.Module, ABC):
    """Images (B, C, H, W) in [-1, 1] to logits (B, classes), in stages. A subclass sets the attributes.

    Attributes:
        channels: C of the images.
        classes: number of classes.
        dims: channels of the features after each stage but the last.
        strides: pixels per position of these features, along both axes.
    """

    kind: ClassVar[str] = "classifier"
    channels: int
    classes: int
    dims: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def stages(self) -> int:
        """Number of stages, the last one included."""
        return len(self.dims) + 1

    @abstractmethod
    def stage(self, x: Tensor, index: int) -> Tensor:
        """The output of stage number `index` for the output of the stage before it, or for images."""

    @abstractmethod
    def remove_stages(self, stages: range) -> None:
        """Remove the weights of stages that will not be called any more."""

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) to logits (B, classes)."""
        return self.outputs(x)[-1]

    def outputs(self, x: Tensor, first: int = 0, stop: int | None = None) -> list[Tensor]:
        """The outputs of stages from `first` to `stop` - 1: features (B, C, h, w), and logits (B, classes) of the last.

        Args:
            x: images, or the features before stage `first`.
            first: first stage that is run.
            stop: stage before which to stop; None to run all.
        """
        found = []
        for index in range(first, self.stages if stop is None else stop):
            x = self.stage(x, index)
            found.append(x)
        return found

    def check_cut(self, cut: int) -> None:
        """Raise InputError unless `cut` is a number of stages after which there are features."""
        if type(cut) is not int or not 1 <= cut <= len(self.dims):
            raise InputError(f"expected a cut after 1 to {len(self.dims)} stages, got {cut!r}")


@part("conv-classifier")
class ConvClassifier(Classifier):
    """A small classifier: a stage is a 3 × 3 convolution with stride 2, batch norm and ReLU; the last one is linear.

    Args:
        classes: number of classes.
        widths: channels after each stage but the last.
        channels: C of the images.
    """

    def __init__(self, classes: int = 10, widths: Sequence[int] = (32, 64, 64), channels: int = 3) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, classes=classes, channels=channels)
        check_integer_lists(1, MAX_SIZE, widths=widths)
        check_integers(1, 16, stages=len(widths))
        self.channels, self.classes, self.dims = channels, classes, tuple(widths)
        self.strides = tuple(2 ** (index + 1) for index in range(len(widths)))
        blocks: list[nn.Module] = [
            nn.Sequential(nn.Conv2d(a, b, 3, stride=2, padding=1), nn.BatchNorm2d(b), nn.ReLU())
            for a, b in pairwise((channels, *widths))
        ]
        head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], classes))
        self.blocks = nn.ModuleList([*blocks, head])

    def stage(self, x: Tensor, index: int) -> Tensor:
        """See `Classifier.stage`."""
        out: Tensor = self.blocks[index](x)
        return out

    def remove_stages(self, stages: range) -> None:
        """See `Classifier.remove_stages`."""
        for index in stages:
            self.blocks[index] = nn.Identity()


@part("stage-encoder")
class StageEncoder(Encoder):
    """The first stages of a classifier as an encoder: images to the features after them.

    Args:
        classifier: the classifier, which is not copied; the weights of its other stages are removed.
        stages: number of stages that are run.

    Raises:
        InputError: for a number of stages after which there are no features.
    """

    reach: tuple[Reach, ...] = (None, None)

    def __init__(self, classifier: Classifier, stages: int = 1) -> None:
        super().__init__()
        if not isinstance(classifier, Classifier):
            raise InputError(f"expected a Classifier, got {type(classifier).__name__}")
        classifier.check_cut(stages)
        classifier.remove_stages(range(stages, classifier.stages))
        self.classifier, self.count = classifier, stages
        self.channels, self.dim = classifier.channels, classifier.dims[stages - 1]
        self.stride = (classifier.strides[stages - 1],) * 2

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to features (B, dim, h, w)."""
        self.check_signal(x)
        return self.classifier.outputs(x, 0, self.count)[-1]


def check_strides(strides: Sequence[int]) -> int:
    """The product of strides of convolutions. Raises InputError unless each is 1 or 2."""
    check_integers(1, 16, layers=len(strides))
    check_integer_lists(1, 2, strides=strides)
    return prod(strides)
