"""The training step: what the codec and its discriminators learn from one batch.

x ──▶ codec ──▶ y ──▶ losses(y, x) + bottleneck's losses + what discriminators say of y ──▶ codec's weights
                └──▶ discriminators(x), discriminators(y) ──▶ discriminators' weights
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from narrows.bitstream.tables import Tables
from narrows.checkpoints import folder
from narrows.errors import InputError
from narrows.recipes.data import Crops, Recordings
from narrows.recipes.descent import Descent
from narrows.recipes.losses.adversarial import discriminator_loss, feature_loss, generator_loss
from narrows.recipes.recipe import AdamW, Recipe
from narrows.recipes.scores import speech_scores
from narrows.recipes.start import start_linear
from narrows.tokenizers.audio import AudioTokenizer

TABLE_SECONDS = 4 * 3600  # of training data that the frequency tables are fitted on


class Training(Descent):
    """A recipe for audio as a Lightning module.

    Crops are drawn by (seed, first step of the epoch, item), so a resumed run sees the same.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe.codec, recipe.schedule)
        self.recipe = recipe
        self.losses = nn.ModuleDict({name: module for name, (_, module) in recipe.losses.items()})
        self.frame_losses = nn.ModuleDict({name: module for name, (_, module) in recipe.frame_losses.items()})
        weighted = {**recipe.losses, **recipe.frame_losses}
        self.weights = {name: weight for name, (weight, _) in weighted.items()} | dict(recipe.weights)
        self.discriminators = nn.ModuleList(recipe.discriminators)
        self._recordings = Recordings(recipe.data.train, recipe.sample_rate)
        self._valid = Recordings(recipe.data.valid, recipe.sample_rate)

    def train_dataloader(self) -> DataLoader[Tensor]:
        """Crops of this epoch."""
        data, recipe = self.recipe.data, self.recipe
        samples = max(1, round(data.seconds * recipe.sample_rate) // recipe.codec.stride) * recipe.codec.stride
        step = int(self.step)
        crops = Crops(self._recordings, samples, self.steps_ahead * data.batch, (recipe.seed, step), data.speeds)
        return DataLoader(crops, batch_size=data.batch, num_workers=data.workers, pin_memory=torch.cuda.is_available())

    def begin(self) -> None:
        """A linear codec of the data, where the recipe says so."""
        if self.recipe.linear_start:
            start_linear(self.codec, self._recordings)

    def deliver(self, out: Path) -> Path:
        """Fit the frequency tables on training data and write the checkpoint folder."""
        recipe, target = self.recipe, out / "checkpoint"
        folder.save(target, self.average, recipe.name, recipe.sample_rate)
        codec = folder.read(target).codec  # the tables belong to the weights as they are stored, in half precision
        tables = fit_tables(AudioTokenizer(codec, recipe.sample_rate), self._recordings)
        folder.save(target, codec, recipe.name, recipe.sample_rate, tables)
        return target

    def val_dataloader(self) -> DataLoader[Any]:
        """Whole recordings (T,), one at a time."""
        return DataLoader(self._valid, batch_size=1)

    def validation_step(self, x: Tensor, index: int) -> None:
        """Mean over recordings x (1, T) of what the averaged codec makes of them."""
        stride = self.recipe.codec.stride
        x = x.unsqueeze(1)
        padded = nn.functional.pad(x, (0, -x.shape[2] % stride))
        y = self.average(padded).x[:, :, : x.shape[2]].float()
        values = {name: loss(y, x) for name, loss in self.losses.items()}
        values |= speech_scores(x[0, 0].cpu(), y[0, 0].cpu(), self.recipe.sample_rate)
        self.log_dict({f"valid/{name}": value for name, value in values.items()}, prog_bar=True, batch_size=1)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """One optimiser for the codec, one for the discriminators."""
        settings, adversary = self.recipe.optimizer, self.recipe.adversary
        optimizers: list[torch.optim.Optimizer] = [_adamw(self.codec, settings, self.recipe.straight)]
        if self.discriminators:
            optimizers.append(_adamw(self.discriminators, replace(settings, lr=adversary.lr)))
        return optimizers

    def training_step(self, x: Tensor, index: int) -> None:
        """One step on crops x (B, 1, T)."""
        step = int(self.step)
        rate = self.recipe.schedule.rate(step)
        optimizers: Any = self.optimizers()
        optimizers = optimizers if isinstance(optimizers, list) else [optimizers]
        against = bool(self.discriminators) and step >= max(self.recipe.adversary.start, self.recipe.schedule.signal)

        quantized = self.codec.bottleneck(self.codec.encoder(x))
        values = dict(quantized.losses)
        values |= {name: loss(self.codec.decoder, quantized.latents, x) for name, loss in self.frame_losses.items()}
        if step >= self.recipe.schedule.signal or not self.frame_losses:
            y = self.codec.decoder(quantized.latents).float()
            values |= {name: loss(y, x) for name, loss in self.losses.items()}
        total = torch.stack([self._weight(name) * value for name, value in values.items()]).sum()
        if against:
            values["discriminators"] = self._learn(optimizers[1], self._judge_both(x, y.detach()), rate)
            self.discriminators.requires_grad_(False)  # the codec's gradients go through them, not into them
            real, fake = self._judge_both(x, y)
            self.discriminators.requires_grad_(True)
            values["score"], values["features"] = generator_loss(fake), feature_loss(real, fake)
            adversary = self.recipe.adversary
            total = total + adversary.score * values["score"] + adversary.features * values["features"]
        self.descend(optimizers[0], total, rate, self.codec)
        self.follow(step)
        self.step += 1
        self.log_dict({name: value.detach() for name, value in values.items()}, prog_bar=True)

    def _weight(self, name: str) -> float:
        last = name.rsplit("/", 1)[-1]  # a bottleneck of bottlenecks returns "semantic/commitment"
        if last not in self.weights:
            raise InputError(f"the bottleneck returns the loss {name!r}; give {last!r} a weight in the recipe")
        return self.weights[last]

    def _judge_both(self, x: Tensor, y: Tensor) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
        return [judge(x) for judge in self.discriminators], [judge(y) for judge in self.discriminators]

    def _learn(self, optimizer: Any, judged: tuple[list[list[Tensor]], list[list[Tensor]]], rate: float) -> Tensor:
        loss = discriminator_loss(*judged)
        self.descend(optimizer, loss, rate, self.discriminators)
        return loss


def fit_tables(tokenizer: AudioTokenizer, recordings: Recordings, seconds: float = TABLE_SECONDS) -> Tables:
    """Frequency tables for the symbols that a tokenizer makes of recordings at its rate, drawn from all over them."""
    codes, total = [], 0.0
    for index in recordings.shuffled():
        codes.append(tokenizer.encode(recordings[index], tokenizer.sample_rate).codes)
        total += recordings.seconds[index]
        if total > seconds:
            break
    return tokenizer.tables_for(torch.cat(codes, 2))


def _adamw(module: nn.Module, settings: AdamW, straight: float = 1.0) -> torch.optim.AdamW:
    """An optimiser of `module` whose straight paths and projections learn at a share of the rate."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        groups.setdefault(("straight" in name or "project" in name, parameter.ndim > 1), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "full_lr": settings.lr * (straight if linear else 1.0),
                "weight_decay": settings.weight_decay if matrix and not linear else 0.0,
            }
            for (linear, matrix), parameters in groups.items()
        ],
        lr=settings.lr,
        betas=settings.betas,
        fused=True,
    )
