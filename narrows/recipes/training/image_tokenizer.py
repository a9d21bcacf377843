"""Training of an image tokenizer as VQGAN does it (Esser et al., arXiv 2012.09841, section 3.1)."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from narrows.bitstream import Tables
from narrows.codecs.codec import Codec
from narrows.errors import InputError
from narrows.recipes.data.images import PictureCrops, Pictures
from narrows.recipes.losses.adversarial import balance, feature_loss, unbounded_loss
from narrows.recipes.training.adversarial import Adversarial, modules_of, weights_of
from narrows.recipes.training.tokenizer_recipe import TokenizerRecipe
from narrows.tokenizers.image import ImageTokenizer

TABLE_CROPS = 2000  # at most, that the frequency tables are counted on
CROPS_A_PICTURE = 4  # of them


class TokenizerTraining(Adversarial):
    """A recipe for an image tokenizer as a Lightning module.

    Crops are drawn by (seed, first step of the epoch, item), so a resumed run sees the same.
    """

    def __init__(self, recipe: TokenizerRecipe) -> None:
        super().__init__(
            recipe.codec,
            recipe.schedule,
            weights_of(recipe.losses, recipe.latent_losses) | dict(recipe.weights),
            recipe.optimizer,
            recipe.discriminators,
            recipe.adversary,
        )
        if recipe.data.side % recipe.codec.stride:
            raise InputError(f"data.side={recipe.data.side} given, a multiple of {recipe.codec.stride} wanted")
        self.recipe = recipe
        self.losses, self.latent_losses = modules_of(recipe.losses), modules_of(recipe.latent_losses)
        self._pictures, self._valid = Pictures(recipe.data.train), Pictures(recipe.data.valid)

    @property
    def learning(self) -> torch.nn.Module:
        """The codec, and what the losses on latents learn beside it."""
        return torch.nn.ModuleList([self.codec, self.latent_losses])

    @property
    def last(self) -> Tensor:
        """The weight of the decoder's last layer."""
        named = self.codec.named_parameters()
        return [p for name, p in named if name.startswith("decoder.") and p.ndim > 1][-1]

    def begin(self) -> None:
        """Random weights."""

    def deliver(self, out: Path) -> Path:
        """Count the frequency tables on training data and write the checkpoint folder."""
        return self.save(out, self.recipe.name)

    @torch.inference_mode()
    def tables(self, codec: Codec) -> Tables | None:
        """Frequency tables of what the codec makes of crops of the training data; None where it has no codes."""
        if not codec.bottleneck.codebook_sizes:
            return None
        data, device = self.recipe.data, "cuda" if torch.cuda.is_available() else "cpu"
        count = min(TABLE_CROPS, CROPS_A_PICTURE * len(self._pictures))
        crops = PictureCrops(self._pictures, data.side, count, (self.recipe.seed, 1))
        codec.eval().to(device)
        codes = [codec.encode(x.to(device)).cpu() for x in DataLoader(crops, data.batch, num_workers=data.workers)]
        return ImageTokenizer(codec.cpu()).tables_for(torch.cat(codes))

    def train_dataloader(self) -> DataLoader[Tensor]:
        """Crops of this epoch."""
        data, step = self.recipe.data, int(self.step)
        crops = PictureCrops(self._pictures, data.side, self.steps_ahead * data.batch, (self.recipe.seed, 2, step))
        return DataLoader(crops, batch_size=data.batch, num_workers=data.workers, pin_memory=torch.cuda.is_available())

    def val_dataloader(self) -> DataLoader[Any]:
        """Whole pictures (H, W, 3) uint8, one at a time."""
        return DataLoader(self._valid, batch_size=1)

    def training_step(self, x: Tensor, index: int) -> None:
        """One step on crops x (B, 3, side, side)."""
        step = int(self.step)
        rate = self.schedule.rate(step)
        quantized = self.codec.bottleneck(self.codec.encoder(x))
        y = self.codec.decoder(quantized.latents).float()
        seen = {name: loss(y, x) for name, loss in self.losses.items()}
        read = {name: loss(quantized.latents, x) for name, loss in self.latent_losses.items()}
        values = quantized.losses | seen | read
        total = self.weighted(values)
        if self.has_begun(step):
            judged, real, fake = self.judge(x, y, rate)
            score, features = unbounded_loss(fake), feature_loss(real, fake)
            pull = balance(self.weighted(seen), score, self.last)
            total = total + self.adversary.score * pull * score + self.adversary.features * features
            values |= {"discriminators": judged, "score": score, "features": features, "pull": pull}
        self.improve(total, values | quantized.metrics, rate)

    def validation_step(self, x: Tensor, index: int) -> None:
        """PSNR in dB and losses of what the averaged codec makes of the middle of pictures x (1, H, W, 3)."""
        given = _middle(x, self.recipe.data.side, self.codec.stride)
        if not given.numel():
            return
        decoded = self.average(given).x.float().clamp(-1, 1)
        values = {name: loss(decoded, given) for name, loss in self.losses.items()}
        error = (decoded - given).square().mean().clamp(min=1e-10)
        values["psnr"] = 10 * torch.log10(4 / error)
        self.log_dict({f"valid/{name}": value for name, value in values.items()}, prog_bar=True, batch_size=1)


def _middle(pixels: Tensor, side: int, stride: int) -> Tensor:
    """The middle of pictures (B, H, W, 3) uint8 as (B, 3, h, w) in [-1, 1], at most `side` each, whole strides."""
    sizes = [min(side, size // stride * stride) for size in pixels.shape[1:3]]
    top, left = ((size - kept) // 2 for size, kept in zip(pixels.shape[1:3], sizes, strict=True))
    return pixels[:, top : top + sizes[0], left : left + sizes[1]].permute(0, 3, 1, 2).float() / 127.5 - 1
