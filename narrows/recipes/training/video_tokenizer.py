"""Video tokenizers for generative models: codes or continuous latents, trained as those of images are."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

from torch import Tensor

from narrows.codecs.codec import Codec
from narrows.codecs.video.factorised import FactorisedEncoder
from narrows.errors import InputError
from narrows.recipes.data.crops import RandomCrops
from narrows.recipes.data.files import MediaFiles, Sources
from narrows.recipes.data.synthetic import write_synthetic_videos
from narrows.recipes.data.videos import VideoCrops, VideoFiles
from narrows.recipes.initialization.haar import initialize_haar_quantizer
from narrows.recipes.losses.videos import frames_of
from narrows.recipes.settings import VideoData, check_range
from narrows.recipes.training.clips import with_first_repeated, with_still_starts
from narrows.recipes.training.image_tokenizer import ImageTokenizerRecipe, ImageTokenizerTraining, centre_crop
from narrows.tokenizers.video import VideoTokenizer

INITIALIZATION_CROPS = 200


@dataclass(frozen=True, kw_only=True)
class VideoTokenizerRecipe(ImageTokenizerRecipe):
    """A training run of a video tokenizer with one rate.

    `losses` compare clips (B, 3, T, H, W) in [-1, 1]; discriminators see single frames.

    Args:
        data: Training and validation data.
        klt_initialization: Whether a codec of factorised networks starts as the KLT of the training data.
        still_fraction: Fraction of the crops whose first latent frame is that of a still image, as at the beginning of
            a clip.
    """

    data: VideoData
    still_fraction: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(0, 1, still_fraction=self.still_fraction)

    def training(self) -> "VideoTokenizerTraining":
        """The Lightning module that trains this recipe."""
        return VideoTokenizerTraining(self)

    def smoke(self) -> Self:
        """This recipe with crops of 8 frames of 32 × 32, two per step, and two steps."""
        data = replace(self.data, frames=8, crop_size=32, batch_size=2, workers=0)
        return replace(
            self,
            data=data,
            schedule=replace(self.schedule, steps=2, warmup_steps=1, validate_every=2),
            adversarial=replace(self.adversarial, start=1),
        )

    def on_synthetic_data(self, folder: Path) -> Self:
        """This recipe with synthetic clips, which are written to `folder`."""
        write_synthetic_videos(folder)
        return replace(self, data=replace(self.data, train=folder, valid=folder))


class VideoTokenizerTraining(ImageTokenizerTraining):
    """Trains a VideoTokenizerRecipe.

    Args:
        recipe: Recipe to train.

    Raises:
        InputError: If the frames or the size of crops are not multiples of the codec's strides.
    """

    recipe: VideoTokenizerRecipe
    files_class: ClassVar[Callable[[Sources], MediaFiles]] = VideoFiles

    def __init__(self, recipe: VideoTokenizerRecipe) -> None:
        super().__init__(recipe)
        stride = recipe.codec.stride[0]
        if recipe.data.frames % stride:
            raise InputError(f"expected data.frames to be a multiple of {stride}, got {recipe.data.frames}")

    def initialize(self) -> None:
        """Initialise a codec of factorised networks with the KLT of the training data, if the recipe says so."""
        if self.recipe.klt_initialization and isinstance(self.codec.encoder, FactorisedEncoder):
            initialize_haar_quantizer(self.codec, self.crops(INITIALIZATION_CROPS, 3))

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

    def images(self, x: Tensor) -> Tensor:
        """The frames (B T, 3, H, W) of clips."""
        return frames_of(x)

    def cut(self, x: Tensor) -> Tensor:
        """The centre of the first frames of a clip (1, 3, T, H, W), with copies of the first frame in front."""
        stride = self.codec.stride[0]
        frames = (min(x.shape[2], self.recipe.data.frames) - 1) // stride * stride + 1
        x = centre_crop(x[:, :, :frames], self.recipe.data.crop_size, max(self.codec.stride[1:]))
        return with_first_repeated(x, stride)

    def shown(self, x: Tensor) -> Tensor:
        """The frames of the clip, without the copies of the first one."""
        return x[:, :, self.codec.stride[0] - 1 :]
