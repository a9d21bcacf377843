"""What both trainings of video share: clips as data, and batches as video codecs see them.

A codec with stride s in time repeats the first frame of a clip s - 1 times.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor

from narrows.codecs.codec import Codec
from narrows.recipes.data.crops import RandomCrops
from narrows.recipes.data.files import MediaFiles, Sources
from narrows.recipes.data.synthetic import write_synthetic_videos
from narrows.recipes.data.videos import VideoCrops, VideoFiles
from narrows.recipes.settings import VideoData, check_range
from narrows.recipes.training.base import Recipe, Training
from narrows.tokenizers.video import VideoTokenizer


@dataclass(frozen=True, kw_only=True)
class ClipRecipe(Recipe):
    """A training run on clips.

    Args:
        data: Training and validation data.
        still_fraction: Fraction of the crops whose first latent frame is that of a still image, as at the beginning of
            a clip.
    """

    data: VideoData
    still_fraction: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(0, 1, still_fraction=self.still_fraction)

    def on_synthetic_data(self, folder: Path) -> Self:
        """This recipe with synthetic clips, which are written to `folder`."""
        write_synthetic_videos(folder)
        return replace(self, data=replace(self.data, train=folder, valid=folder))


class ClipTraining(Training):
    """Trains a ClipRecipe; the class after it, one for images, has the losses."""

    recipe: ClipRecipe
    files_class: ClassVar[Callable[[Sources], MediaFiles]] = VideoFiles
    _train: MediaFiles

    def crops(self, count: int, purpose: int) -> RandomCrops:
        """Crops (3, frames, crop_size, crop_size) of the training data, other ones for each purpose."""
        assert isinstance(self._train, VideoFiles)
        data = self.recipe.data
        return VideoCrops(self._train, data.frames, data.crop_size, count, (self.recipe.seed, purpose))

    def tokenizer(self, codec: Codec) -> VideoTokenizer:
        """A VideoTokenizer."""
        return VideoTokenizer(codec)

    def prepared(self, x: Tensor) -> Tensor:
        """A batch in which some crops begin with copies of one frame, as the first latent frame of a clip has them."""
        return with_still_starts(x, self.codec.stride[0], self.recipe.still_fraction)

    def shown(self, x: Tensor) -> Tensor:
        """The frames of a clip, without the copies of the first one."""
        return x[:, :, self.codec.stride[0] - 1 :]


def with_first_repeated(x: Tensor, stride: int) -> Tensor:
    """Clips (B, C, T, H, W) with stride - 1 copies of their first frame in front, as VideoTokenizer codes them."""
    return torch.cat((x[:, :, :1].expand(-1, -1, stride - 1, -1, -1), x), 2)


def with_still_starts(x: Tensor, stride: int, fraction: float) -> Tensor:
    """A batch of clips (B, C, T, H, W), some of which, drawn at random, begin with `stride` copies of one frame.

    Args:
        x: clips; they are not changed.
        stride: of the codec in time.
        fraction: of the clips that begin so, on average.
    """
    still = round(len(x) * fraction + torch.rand(()).item() - 0.5)
    if still <= 0:
        return x
    x = x.clone()
    x[-still:, :, : stride - 1] = x[-still:, :, stride - 1 : stride]
    return x.roll(int(torch.randint(len(x), ())), 0)  # qualities may go with the place in the batch
