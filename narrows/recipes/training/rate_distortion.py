"""Image codecs with an entropy model: the recipe, and the Lightning module that trains it for all qualities at once.

x ──▶ encoder ──▶ entropy model at quality q ──▶ decoder ──▶ y        loss = lambda(q) |y - x|² + bits per pixel

Each crop of a batch has its own quality. Gain vectors set the quality (Cui et al., arXiv 2003.02012). Codecs of video
are trained in the same way, see video_rate_distortion.py.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from narrows.bitstream import FrequencyTables
from narrows.codecs.base import Encoder
from narrows.codecs.bottlenecks.entropy.space_channel import SpaceChannelContext
from narrows.codecs.codec import Codec
from narrows.codecs.image.lapped import LappedEncoder
from narrows.codecs.layers.qualities import ANCHORS
from narrows.errors import InputError
from narrows.recipes.data.crops import RandomCrops
from narrows.recipes.data.files import MediaFiles, Sources
from narrows.recipes.data.images import ImageCrops, ImageFiles
from narrows.recipes.data.loading import crop_loader, whole_loader
from narrows.recipes.data.synthetic import write_synthetic_images
from narrows.recipes.initialization.lapped import FULL_SCALE, initialize_lapped
from narrows.recipes.settings import ImageData, VideoData, check_range
from narrows.recipes.training.base import Recipe, Training
from narrows.recipes.training.fit_tables import fit_entropy_model_tables
from narrows.recipes.training.optimizer import adamw
from narrows.tokenizers.image import MAX_LAMBDA, ImageTokenizer
from narrows.tokenizers.tokenizer import Tokenizer

LOSS_EXPONENT = 0.45  # the loss of a trained codec is about proportional to this power of lambda
INITIALIZATION_CROPS = 480
TABLE_IMAGES = 400  # number of images on which the frequency tables are counted
# Learning rates of parameters with these names, as multiples of the networks' learning rate.
LR_FACTORS = {"log_scale": 2.0, "root_gain": 1.0, "inverse": 0.3}


@dataclass(frozen=True, kw_only=True)
class RateDistortionRecipe(Recipe):
    """A training run of an image codec with an entropy model.

    Args:
        data: Training and validation data.
        lambdas: Weights of the squared error (of 8-bit values) against bits per pixel, from the lowest quality to the
            highest; weights of the qualities between them are interpolated.
        entropy_model_steps: First steps, in which only the entropy model is trained and the transforms stay as
            initialised.
        linear_lr_fraction: Learning rate of the linear transforms as a fraction of the networks'.

    Raises:
        InputError: For lambdas that are not 8 increasing numbers above 0.
    """

    data: ImageData | VideoData
    lambdas: tuple[float, ...]
    entropy_model_steps: int = 1000
    linear_lr_fraction: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(0, entropy_model_steps=self.entropy_model_steps, linear_lr_fraction=self.linear_lr_fraction)
        increasing = all(low < high for low, high in pairwise((0, *self.lambdas, MAX_LAMBDA)))
        if len(self.lambdas) != ANCHORS or not increasing:
            shown = str(list(self.lambdas))[:80]
            raise InputError(
                f"expected lambdas of {ANCHORS} increasing numbers between 0 and {MAX_LAMBDA:g}, got {shown}"
            )

    def training(self) -> "RateDistortionTraining":
        """The Lightning module that trains this recipe."""
        return RateDistortionTraining(self)

    def smoke(self) -> Self:
        """This recipe with crops of 64 × 64, two per step, and four steps."""
        return replace(
            self,
            data=replace(self.data, crop_size=64, batch_size=2, workers=0),
            entropy_model_steps=2,
            schedule=replace(self.schedule, steps=4, warmup_steps=2, validate_every=2),
        )

    def on_synthetic_data(self, folder: Path) -> Self:
        """This recipe with synthetic images, which are written to `folder`."""
        write_synthetic_images(folder)
        return replace(self, data=replace(self.data, train=folder, valid=folder))


class RateDistortionTraining(Training):
    """Trains a RateDistortionRecipe.

    Args:
        recipe: Recipe to train.

    Raises:
        InputError: If the codec does not consist of lapped transforms and a space-channel context model, or if the crop
            size is not a multiple of their blocks.
    """

    recipe: RateDistortionRecipe
    lambdas: Tensor

    encoder_class: ClassVar[type[Encoder]] = LappedEncoder
    model_class: ClassVar[type[SpaceChannelContext]] = SpaceChannelContext
    files_class: ClassVar[Callable[[Sources], MediaFiles]] = ImageFiles

    def __init__(self, recipe: RateDistortionRecipe) -> None:
        super().__init__(recipe)
        encoder, model = recipe.codec.encoder, recipe.codec.bottleneck
        if type(model) is not self.model_class or not isinstance(encoder, self.encoder_class):
            raise InputError(
                f"expected a codec of {self.encoder_class.__name__} and {self.model_class.__name__}, "
                f"got {type(encoder).__name__} and {type(model).__name__}"
            )
        self.block = encoder.stride[-1] * model.multiple
        if recipe.data.crop_size % self.block:
            raise InputError(f"expected data.crop_size to be a multiple of {self.block}, got {recipe.data.crop_size}")
        self.model = model
        self.register_buffer("lambdas", torch.tensor(recipe.lambdas), persistent=False)
        self._train, self._valid = (type(self).files_class(source) for source in (recipe.data.train, recipe.data.valid))

    def initialize(self) -> None:
        """Initialise the codec with the KLT of the training data and lapped transforms (see initialization/lapped)."""
        initialize_lapped(self.codec, self.crops(INITIALIZATION_CROPS, 1), self.lambdas)

    def crops(self, count: int, purpose: int) -> RandomCrops:
        """Crops of the training data, other ones for each purpose."""
        assert isinstance(self._train, ImageFiles)
        return ImageCrops(self._train, self.recipe.data.crop_size, count, (self.recipe.seed, purpose))

    def tokenizer(self, codec: Codec) -> Tokenizer:
        """An ImageTokenizer with the lambdas, which the encoder-side search needs."""
        return ImageTokenizer(codec, self.recipe.lambdas)

    def fit_tables(self, tokenizer: Tokenizer) -> FrequencyTables:
        """Frequency tables of the symbols of training images."""
        return fit_entropy_model_tables(cast(ImageTokenizer, tokenizer), self._train, TABLE_IMAGES, self.deadline)

    def train_dataloader(self) -> DataLoader[Tensor]:
        """Crops (B, 3, crop_size, crop_size) of the next epoch."""
        return self._crops

    @cached_property
    def _crops(self) -> DataLoader[Tensor]:
        data = self.recipe.data
        return crop_loader(self.crops(self.crop_count(data.batch_size), 2), data, self.next_steps)

    def val_dataloader(self) -> DataLoader[Any]:
        """This rank's images (1, 3, H, W) uint8, whole, one at a time."""
        return whole_loader(self._valid)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW, with other learning rates for linear transforms and gains."""
        return adamw(self.codec, self.recipe.optimizer, {"linear": self.recipe.linear_lr_fraction, **LR_FACTORS})

    def training_step(self, x: Tensor, index: int) -> None:
        """Train for one step on crops x (B, 3, crop_size, crop_size) in [-1, 1]."""
        step, pixels = int(self.step), x[0, 0].numel()
        x = self.prepared(x)
        # Draw qualities in [0, 1): one random value in each of B equal intervals.
        relative = (torch.arange(len(x), device=x.device) + torch.rand(len(x), device=x.device)) / len(x)
        lambdas = _interpolate(self.lambdas, relative * (len(self.lambdas) - 1))
        quality = relative * (self.model.qualities - 1)
        entropy_model_only = step < self.recipe.entropy_model_steps
        self.model.root_gain.requires_grad_(not entropy_model_only)  # the rate alone would shrink it
        with torch.set_grad_enabled(not entropy_model_only):
            z = self.codec.analyze(x)
        quantized = self.model(z, quality)
        bits_per_pixel = quantized.bits / pixels
        logged = {"bits_per_pixel": bits_per_pixel.mean()}
        if entropy_model_only:
            loss = bits_per_pixel
        else:
            errors = self.errors((self.codec.synthesize(quantized.latents, quality) - x) * FULL_SCALE)
            loss = lambdas * torch.stack(list(errors.values())).sum(0) + bits_per_pixel
            logged |= {name: error.mean() for name, error in errors.items()}
        loss = (loss * self._weight(lambdas)).mean()
        optimizer: Any = self.optimizers()
        self.update(optimizer, loss, self.schedule.lr_fraction(step), self.codec)
        self.end_batch({"loss": loss} | logged)

    def prepared(self, x: Tensor) -> Tensor:
        """A batch in the layout in which the networks are fast."""
        return x.contiguous(memory_format=torch.channels_last)

    def errors(self, difference: Tensor) -> dict[str, Tensor]:
        """Errors (B,) by name, whose sum lambda weighs, of a difference (B, 3, *signal) of 8-bit values."""
        return {"squared_error": difference.square().flatten(1).mean(1)}

    def validation_step(self, x: Tensor, index: int) -> None:
        """Log the loss, bits per pixel and PSNR in dB of the EMA codec on an image x (1, 3, H, W) uint8.

        Qualities are 2, 4, 6 and 8. The image is cut at the bottom and right to whole blocks.
        """
        given = self.whole_blocks(x).float()
        if not given.numel():
            return
        original = self.shown(given)
        values, decoded_at, losses = {}, {}, []
        for anchor in range(1, 8, 2):
            quality = anchor * (self.model.qualities - 1) // 7
            out = self.ema(given / FULL_SCALE - 1, quality)
            x = self.shown(out.x)
            decoded = ((x.clamp(-1, 1) + 1) * FULL_SCALE).round()
            error = (decoded - original).square().mean()
            bits_per_pixel = out.quantized.bits[0] / original[0, 0].numel()
            values[f"bits_per_pixel-{anchor + 1}"] = bits_per_pixel
            values[f"psnr-{anchor + 1}"] = 20 * torch.log10(255 / error.sqrt().clamp(min=1e-3))
            losses.append((self.lambdas[anchor] * error + bits_per_pixel) * self._weight(self.lambdas[anchor]))
            decoded_at[f"quality {anchor + 1}"] = x[0]
        values["loss"] = torch.stack(losses).mean()
        self.log_item(values)
        self.log_sample(original[0] / FULL_SCALE - 1, decoded_at)

    def whole_blocks(self, x: Tensor) -> Tensor:
        """A validation item cut to whole blocks."""
        height, width = (side // self.block * self.block for side in x.shape[-2:])
        return x[..., :height, :width]

    def shown(self, x: Tensor) -> Tensor:
        """The part of a validation item, after `whole_blocks` and decoding, that is compared."""
        return x

    def _weight(self, lambdas: Tensor) -> Tensor:
        """With this factor, the losses of all qualities weigh about the same."""
        return (lambdas / self.lambdas.mean()) ** -LOSS_EXPONENT


def _interpolate(lambdas: Tensor, index: Tensor) -> Tensor:
    """Lambdas at fractional indices, interpolated linearly in the logarithm."""
    low = index.floor().clamp(0, len(lambdas) - 2).long()
    return torch.lerp(lambdas.log()[low], lambdas.log()[low + 1], index - low).exp()
