"""Video codecs with an entropy model, trained as those of images are, with an error between frames beside that of each.

x ──▶ encoder ──▶ entropy model at quality q ──▶ decoder ──▶ y

loss = lambda(q) (|y - x|² + flicker weight × |(y_t - y_(t-1)) - (x_t - x_(t-1))|² / 2) + bits per pixel
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Self, cast

from torch import Tensor

from narrows.bitstream import FrequencyTables
from narrows.codecs.base import Encoder
from narrows.codecs.bottlenecks.entropy.space_channel import SpaceChannelContext
from narrows.codecs.bottlenecks.entropy.space_time import SpaceTimeContext
from narrows.codecs.video.factorised import FactorisedEncoder
from narrows.errors import InputError
from narrows.recipes.initialization.haar import initialize_haar
from narrows.recipes.settings import check_range
from narrows.recipes.training.clips import ClipRecipe, ClipTraining, with_first_repeated
from narrows.recipes.training.fit_tables import fit_entropy_model_tables
from narrows.recipes.training.rate_distortion import RateDistortionRecipe, RateDistortionTraining
from narrows.tokenizers.tokenizer import Tokenizer
from narrows.tokenizers.video import VideoTokenizer

INITIALIZATION_CROPS = 240
TABLE_CLIPS = 120  # number of clips on which the frequency tables are counted
VALIDATION_FRAMES, VALIDATION_SIDE = 32, 256  # of the centre of a clip


@dataclass(frozen=True, kw_only=True)
class VideoRateDistortionRecipe(ClipRecipe, RateDistortionRecipe):
    """A training run of a video codec with an entropy model.

    Args:
        flicker_weight: Weight of half the squared error of frame differences, which is the squared error of frames if
            the errors of successive frames are independent.
    """

    flicker_weight: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(0, flicker_weight=self.flicker_weight)

    def training(self) -> "VideoRateDistortionTraining":
        """The Lightning module that trains this recipe."""
        return VideoRateDistortionTraining(self)

    def smoke(self) -> Self:
        """This recipe with crops of 8 frames of 32 × 32, two per step, and four steps."""
        made = super().smoke()
        return replace(made, data=replace(made.data, frames=8, crop_size=32))


class VideoRateDistortionTraining(ClipTraining, RateDistortionTraining):
    """Trains a VideoRateDistortionRecipe.

    Args:
        recipe: Recipe to train.

    Raises:
        InputError: If the codec does not consist of factorised networks and a space-time context model, or if the
            frames or the size of crops are not multiples of their blocks.
    """

    recipe: VideoRateDistortionRecipe
    encoder_class: ClassVar[type[Encoder]] = FactorisedEncoder
    model_class: ClassVar[type[SpaceChannelContext]] = SpaceTimeContext

    def __init__(self, recipe: VideoRateDistortionRecipe) -> None:
        super().__init__(recipe)
        stride = recipe.codec.stride[0]
        if recipe.data.frames % stride or recipe.data.frames < 2 * stride:
            raise InputError(
                f"expected data.frames to be a multiple of {stride} from {2 * stride}, got {recipe.data.frames}"
            )

    def initialize(self) -> None:
        """Initialise the codec with the KLT of the training data (see initialization/haar)."""
        initialize_haar(self.codec, self.crops(INITIALIZATION_CROPS, 1), self.lambdas)

    def fit_tables(self, tokenizer: Tokenizer) -> FrequencyTables:
        """Frequency tables of the symbols of training clips."""
        return fit_entropy_model_tables(cast(VideoTokenizer, tokenizer), self._train, TABLE_CLIPS, self.deadline)

    def errors(self, difference: Tensor) -> dict[str, Tensor]:
        """The squared error of frames, and that of frame differences times its weight."""
        flicker = difference.diff(dim=2).square().flatten(1).mean(1) / 2
        return super().errors(difference) | {"flicker": self.recipe.flicker_weight * flicker}

    def whole_blocks(self, x: Tensor) -> Tensor:
        """The centre of the first frames of a clip (1, 3, T, H, W), with copies of the first frame in front."""
        stride = self.codec.stride[0]
        frames = (min(x.shape[2], VALIDATION_FRAMES) - 1) // stride * stride + 1
        height, width = (min(VALIDATION_SIDE, side // self.block * self.block) for side in x.shape[3:])
        top, left = (x.shape[3] - height) // 2, (x.shape[4] - width) // 2
        return with_first_repeated(x[:, :, :frames, top : top + height, left : left + width], stride)
