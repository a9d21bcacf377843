"""Image tokenizers: the recipe, and the Lightning module that trains it as VQGAN is (arXiv 2012.09841, section 3.1)."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from narrows.bitstream import FrequencyTables
from narrows.codecs.base import Quantized
from narrows.codecs.codec import Codec
from narrows.errors import InputError
from narrows.recipes.data.crops import RandomCrops
from narrows.recipes.data.files import MediaFiles, Sources
from narrows.recipes.data.images import ImageCrops, ImageFiles
from narrows.recipes.data.loading import crop_loader, whole_loader
from narrows.recipes.data.synthetic import write_synthetic_images
from narrows.recipes.initialization.lapped import initialize_lapped_quantizer
from narrows.recipes.losses.adversarial import adaptive_weight, feature_matching_loss, mean_generator_loss
from narrows.recipes.settings import ImageData, VideoData
from narrows.recipes.training.adversarial import AdversarialRecipe, AdversarialTraining, Losses
from narrows.tokenizers.image import ImageTokenizer
from narrows.tokenizers.tokenizer import Tokenizer

INITIALIZATION_CROPS = 200
MAX_TABLE_CROPS = 2000  # largest number of crops on which the frequency tables are counted
TABLE_CROPS_PER_IMAGE = 4


@dataclass(frozen=True, kw_only=True)
class ImageTokenizerRecipe(AdversarialRecipe):
    """A training run of an image tokenizer with one rate.

    `losses` compare images (B, 3, H, W) in [-1, 1].

    Args:
        data: Training and validation data.
        latent_losses: Losses by name: a weight and a module that takes latents (B, D, h, w) and original images, and
            returns a scalar. The modules may have parameters, which are trained with the codec.
        klt_initialization: Whether a codec of lapped transforms and FSQ or VQ starts as the KLT of the training data.
        linear_lr_fraction: Learning rate of the transforms that it sets, as a fraction of the codec's.
    """

    data: ImageData | VideoData
    latent_losses: Losses = field(default_factory=dict)
    klt_initialization: bool = False
    linear_lr_fraction: float = 0.1
    best: Mapping[str, str] = field(default_factory=lambda: {"psnr": "higher"})

    @property
    def other_losses(self) -> Losses:
        """The losses of latents."""
        return self.latent_losses

    def training(self) -> "ImageTokenizerTraining":
        """The Lightning module that trains this recipe."""
        return ImageTokenizerTraining(self)

    def smoke(self) -> Self:
        """This recipe with crops of 32 × 32, two per step, and two steps."""
        return replace(
            self,
            data=replace(self.data, crop_size=32, batch_size=2, workers=0),
            schedule=replace(self.schedule, steps=2, warmup_steps=1, validate_every=2),
            adversarial=replace(self.adversarial, start=1),
        )

    def on_synthetic_data(self, folder: Path) -> Self:
        """This recipe with synthetic images, which are written to `folder`."""
        write_synthetic_images(folder)
        return replace(self, data=replace(self.data, train=folder, valid=folder))


class ImageTokenizerTraining(AdversarialTraining):
    """Trains an ImageTokenizerRecipe.

    Args:
        recipe: Recipe to train.

    Raises:
        InputError: If the crop size is not a multiple of the codec's stride.
    """

    recipe: ImageTokenizerRecipe
    files_class: ClassVar[Callable[[Sources], MediaFiles]] = ImageFiles

    def __init__(self, recipe: ImageTokenizerRecipe) -> None:
        linear_lr_fraction = recipe.linear_lr_fraction if recipe.klt_initialization else 1.0
        super().__init__(
            recipe,
            latent_grid=(4,) * len(recipe.codec.stride),
            discriminator_start=recipe.adversarial.start,
            linear_lr_fraction=linear_lr_fraction,
        )
        stride = max(recipe.codec.stride[-2:])
        if recipe.data.crop_size % stride:
            raise InputError(f"expected data.crop_size to be a multiple of {stride}, got {recipe.data.crop_size}")
        self._train, self._valid = (type(self).files_class(source) for source in (recipe.data.train, recipe.data.valid))

    @property
    def trainable(self) -> nn.Module:
        """The codec and the parameters of the latent losses."""
        return nn.ModuleList([self.codec, self.other_losses])

    @property
    def last_layer(self) -> Tensor:
        """The weight of the decoder's last layer."""
        named = self.codec.named_parameters()
        return [p for name, p in named if name.startswith("decoder.") and p.ndim > 1][-1]

    def initialize(self) -> None:
        """Initialise the codec with the KLT of the training data, if the recipe says so."""
        if self.recipe.klt_initialization:
            initialize_lapped_quantizer(self.codec, self.crops(INITIALIZATION_CROPS, 3))

    def crops(self, count: int, purpose: int) -> RandomCrops:
        """Crops of the training data, other ones for each purpose."""
        assert isinstance(self._train, ImageFiles)
        return ImageCrops(self._train, self.recipe.data.crop_size, count, (self.recipe.seed, purpose))

    def tokenizer(self, codec: Codec) -> Tokenizer:
        """An ImageTokenizer."""
        return ImageTokenizer(codec)

    @torch.inference_mode()
    def fit_tables(self, tokenizer: Tokenizer) -> FrequencyTables | None:
        """Frequency tables of the codes of training crops; None for a codec without codes."""
        codec = tokenizer.codec
        if not tokenizer.codebooks:
            return None
        data, device = self.recipe.data, "cuda" if torch.cuda.is_available() else "cpu"
        count = min(MAX_TABLE_CROPS, TABLE_CROPS_PER_IMAGE * len(self._train))
        crops = self.crops(count, 1)
        codec.eval().to(device)
        batches = DataLoader(crops, data.batch_size, num_workers=data.workers)
        codes = []
        for x in batches:
            codes.append(codec.encode(x.to(device)).cpu())
            if time.monotonic() > self.deadline:
                break
        tokenizer.to("cpu")
        return tokenizer.fit_tables(torch.cat(codes))

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

    def training_step(self, x: Tensor, index: int) -> None:
        """Train for one step on crops x (B, 3, crop_size, crop_size) in [-1, 1]."""
        step, x = int(self.step), self.prepared(x)
        lr_fraction = self.schedule.lr_fraction(step)
        quantized, y = self.coded(x)
        image_losses = self.values(self.losses, y, x)
        latent_losses = self.values(self.other_losses, quantized.latents, x)
        values = quantized.losses | image_losses | latent_losses
        total = self.weighted_sum(values)
        if self.uses_discriminators(step):
            discriminator, real, fake = self.update_discriminators(self.images(x), self.images(y), lr_fraction)
            generator, matching = mean_generator_loss(fake), feature_matching_loss(real, fake)
            adaptive = adaptive_weight(self.weighted_sum(image_losses), generator, self.last_layer)
            weights = self.recipe.adversarial
            total = total + weights.weight * adaptive * generator + weights.feature_weight * matching
            values |= {"discriminator": discriminator, "generator": generator}
            values |= {"feature_matching": matching, "adaptive_weight": adaptive}
        self.update_codec(total, values | quantized.metrics, lr_fraction)

    def coded(self, x: Tensor) -> tuple[Quantized, Tensor]:
        """What the bottleneck returns for a batch in training, with its losses, and the decoded batch."""
        quantized = self.codec.quantize(self.codec.analyze(x))
        return quantized, self.codec.synthesize(quantized.latents).float()

    def prepared(self, x: Tensor) -> Tensor:
        """A batch as it is trained on."""
        return x

    def images(self, x: Tensor) -> Tensor:
        """What the discriminators see of a batch, (B, 3, H, W)."""
        return x

    def cut(self, x: Tensor) -> Tensor:
        """The part of a validation item (1, 3, *signal) uint8 that is used, in whole blocks; in [-1, 1]."""
        return centre_crop(x, self.recipe.data.crop_size, max(self.codec.stride))

    def shown(self, x: Tensor) -> Tensor:
        """The part of a validation item, after `cut` and decoding, that is compared."""
        return x

    def validation_step(self, x: Tensor, index: int) -> None:
        """Log losses and PSNR in dB of the EMA codec on the centre of an image x (1, 3, H, W) uint8."""
        original = self.cut(x)
        if not original.numel():
            return
        decoded, original = self.shown(self.ema(original).x.float().clamp(-1, 1)), self.shown(original)
        values = self.values(self.losses, decoded, original)
        error = (decoded - original).square().mean().clamp(min=1e-10)
        values["psnr"] = 10 * torch.log10(4 / error)
        self.log_item(values)
        self.log_sample(original[0], {"decoded": decoded[0]})


def centre_crop(pixels: Tensor, size: int, stride: int) -> Tensor:
    """Crop images or clips (B, 3, ..., H, W) uint8 to a centre whose sides are multiples of `stride`; in [-1, 1]."""
    sizes = [min(size, side // stride * stride) for side in pixels.shape[-2:]]
    top, left = ((side - kept) // 2 for side, kept in zip(pixels.shape[-2:], sizes, strict=True))
    return pixels[..., top : top + sizes[0], left : left + sizes[1]].float() / 127.5 - 1
