"""Video tokenizers for generative models: codes or continuous latents, trained as those of images are."""

from dataclasses import dataclass, replace
from typing import Self

from torch import Tensor

from narrows.codecs.video.factorised import FactorisedEncoder
from narrows.errors import InputError
from narrows.recipes.initialization.haar import initialize_haar_quantizer
from narrows.recipes.losses.videos import frames_of
from narrows.recipes.training.clips import ClipRecipe, ClipTraining, with_first_repeated
from narrows.recipes.training.image_tokenizer import ImageTokenizerRecipe, ImageTokenizerTraining, centre_crop

INITIALIZATION_CROPS = 200


@dataclass(frozen=True, kw_only=True)
class VideoTokenizerRecipe(ClipRecipe, ImageTokenizerRecipe):
    """A training run of a video tokenizer with one rate.

    `losses` compare clips (B, 3, T, H, W) in [-1, 1]; discriminators see single frames.

    Args:
        klt_initialization: Whether a codec of factorised networks starts as the KLT of the training data.
    """

    def training(self) -> "VideoTokenizerTraining":
        """The Lightning module that trains this recipe."""
        return VideoTokenizerTraining(self)

    def smoke(self) -> Self:
        """This recipe with crops of 8 frames of 32 × 32, two per step, and two steps."""
        made = super().smoke()
        return replace(made, data=replace(made.data, frames=8))


class VideoTokenizerTraining(ClipTraining, ImageTokenizerTraining):
    """Trains a VideoTokenizerRecipe.

    Args:
        recipe: Recipe to train.

    Raises:
        InputError: If the frames or the size of crops are not multiples of the codec's strides.
    """

    recipe: VideoTokenizerRecipe

    def __init__(self, recipe: VideoTokenizerRecipe) -> None:
        super().__init__(recipe)
        stride = recipe.codec.stride[0]
        if recipe.data.frames % stride:
            raise InputError(f"expected data.frames to be a multiple of {stride}, got {recipe.data.frames}")

    def initialize(self) -> None:
        """Initialise a codec of factorised networks with the KLT of the training data, if the recipe says so."""
        if self.recipe.klt_initialization and isinstance(self.codec.encoder, FactorisedEncoder):
            initialize_haar_quantizer(self.codec, self.crops(INITIALIZATION_CROPS, 3))

    def images(self, x: Tensor) -> Tensor:
        """The frames (B T, 3, H, W) of clips."""
        return frames_of(x)

    def cut(self, x: Tensor) -> Tensor:
        """The centre of the first frames of a clip (1, 3, T, H, W), with copies of the first frame in front."""
        stride = self.codec.stride[0]
        frames = (min(x.shape[2], self.recipe.data.frames) - 1) // stride * stride + 1
        x = centre_crop(x[:, :, :frames], self.recipe.data.crop_size, max(self.codec.stride[1:]))
        return with_first_repeated(x, stride)
