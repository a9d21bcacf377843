"""Training for rate and distortion: lambda × squared error + bits a pixel, each crop at a quality of its own.

x ──▶ encoder ──▶ entropy model at quality q ──▶ decoder ──▶ y        loss = lambda(q) |y - x|² + bits / pixels
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from narrows.checkpoints import folder
from narrows.codecs.bottlenecks.entropy.space_channel import SpaceChannelContext
from narrows.codecs.image.lapped import LappedEncoder
from narrows.errors import InputError
from narrows.recipes.data.images import PictureCrops, Pictures
from narrows.recipes.initialization.lapped import FULL_SCALE, start_lapped
from narrows.recipes.training.base import Descent
from narrows.recipes.training.image_recipe import ImageRecipe
from narrows.recipes.training.tables import fit_chosen

EVEN = 0.45  # about the power of lambda with which the loss of a trained codec grows
START_CROPS = 480
TABLE_PICTURES = 400
PACE = {"log_scale": 2.0, "root_gain": 1.0, "inverse": 0.3}  # learning rates, of the networks'


class RateDistortion(Descent):
    """An image recipe as a Lightning module."""

    lambdas: Tensor

    def __init__(self, recipe: ImageRecipe) -> None:
        super().__init__(recipe.codec, recipe.schedule)
        encoder, model = recipe.codec.encoder, recipe.codec.bottleneck
        if not isinstance(model, SpaceChannelContext) or not isinstance(encoder, LappedEncoder):
            raise InputError("a codec without lapped-encoder or space-channel-context given, both wanted")
        block = encoder.stride * model.multiple
        if recipe.data.side % block:
            raise InputError(f"data.side={recipe.data.side} given, a multiple of {block} wanted")
        self.recipe, self.model = recipe, model
        self.register_buffer("lambdas", torch.tensor(recipe.lambdas), persistent=False)
        self._pictures, self._valid = Pictures(recipe.data.train), Pictures(recipe.data.valid)

    def begin(self) -> None:
        """The lapped linear transform codec of the data."""
        crops = PictureCrops(self._pictures, self.recipe.data.side, START_CROPS, (self.recipe.seed, 1))
        start_lapped(self.codec, crops, self.lambdas)

    def deliver(self, out: Path) -> Path:
        """Count the tables on training data and write the checkpoint folder."""
        recipe, target = self.recipe, out / "checkpoint"
        folder.save(target, self.average, recipe.name)
        codec = folder.read(target).codec  # the tables belong to the weights as they are stored, in half precision
        tables = fit_chosen(codec, self._pictures, TABLE_PICTURES)
        folder.save(target, codec, recipe.name, tables=tables, lambdas=recipe.lambdas)
        return target

    def train_dataloader(self) -> DataLoader[Tensor]:
        """Crops of this epoch."""
        data, step = self.recipe.data, int(self.step)
        crops = PictureCrops(self._pictures, data.side, self.steps_ahead * data.batch, (self.recipe.seed, 2, step))
        return DataLoader(crops, batch_size=data.batch, num_workers=data.workers, pin_memory=torch.cuda.is_available())

    def val_dataloader(self) -> DataLoader[Any]:
        """Whole pictures (H, W, 3) uint8, one at a time."""
        return DataLoader(self._valid, batch_size=1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW, with paces of their own for transforms and gains."""
        settings = self.recipe.optimizer
        groups: dict[float, list[nn.Parameter]] = {}
        for name, parameter in self.codec.named_parameters():
            pace = self.recipe.straight if "straight" in name else 1.0
            for word, own in PACE.items():
                pace = own if word in name else pace
            groups.setdefault(pace, []).append(parameter)
        parameters = [{"params": group, "full_lr": settings.lr * pace} for pace, group in groups.items()]
        return torch.optim.AdamW(parameters, settings.lr, betas=settings.betas, weight_decay=settings.weight_decay)

    def training_step(self, x: Tensor, index: int) -> None:
        """One step on crops x (B, 3, side, side)."""
        step, pixels = int(self.step), x[0, 0].numel()
        x = x.contiguous(memory_format=torch.channels_last)
        share = (torch.arange(len(x), device=x.device) + torch.rand(len(x), device=x.device)) / len(x)
        place = share * (len(self.lambdas) - 1)
        lambdas = _interpolated(self.lambdas, place)
        quality = share * (self.model.qualities - 1)
        learning = step < self.recipe.linear  # the entropy model alone
        self.model.root_gain.requires_grad_(not learning)  # bits alone would shrink it
        with torch.set_grad_enabled(not learning):
            z = self.codec.encoder(x)
        quantized = self.model(z, quality)
        bits = quantized.bits / pixels
        if learning:
            loss = bits
        else:
            error = (self.codec.synthesize(quantized.latents, quality) - x).square().mean((1, 2, 3)) * FULL_SCALE**2
            loss = lambdas * error + bits
            self.log("error", error.detach().mean(), prog_bar=True)
        loss = (loss * (lambdas / self.lambdas.mean()) ** -EVEN).mean()
        optimizer: Any = self.optimizers()
        self.descend(optimizer, loss, self.schedule.rate(step), self.codec)
        self.follow(step)
        self.step += 1
        self.log_dict({"loss": loss.detach(), "bits": quantized.bits.detach().mean() / pixels}, prog_bar=True)

    def validation_step(self, x: Tensor, index: int) -> None:
        """Bits a pixel and PSNR of pictures x (1, H, W, 3), whole blocks of them, at four qualities."""
        block = self.codec.stride * self.model.multiple
        height, width = (size // block * block for size in x.shape[1:3])
        if not height or not width:
            return
        given = x[:, :height, :width].permute(0, 3, 1, 2).float()
        for anchor in range(1, 8, 2):
            quality = anchor * (self.model.qualities - 1) // 7
            out = self.average(given / FULL_SCALE - 1, quality)
            decoded = ((out.x.clamp(-1, 1) + 1) * FULL_SCALE).round()
            psnr = 20 * torch.log10(255 / (decoded - given).square().mean().sqrt().clamp(min=1e-3))
            values = {
                f"valid/bits-{anchor + 1}": out.quantized.bits[0] / given[0, 0].numel(),
                f"valid/psnr-{anchor + 1}": psnr,
            }
            self.log_dict(values, prog_bar=False, batch_size=1)


def _interpolated(lambdas: Tensor, place: Tensor) -> Tensor:
    """Lambdas at places between their indices, even in the logarithm."""
    low = place.floor().clamp(0, len(lambdas) - 2).long()
    return torch.lerp(lambdas.log()[low], lambdas.log()[low + 1], place - low).exp()
