"""The training step: what the codec and its discriminators learn from one batch.

x ──▶ codec ──▶ y ──▶ losses(y, x) + bottleneck's losses + what discriminators say of y ──▶ codec's weights
                └──▶ discriminators(x), discriminators(y) ──▶ discriminators' weights
"""

import copy
from dataclasses import replace
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from narrows.errors import InputError
from narrows.recipes.data import Crops, Recordings
from narrows.recipes.losses.adversarial import discriminator_loss, feature_loss, generator_loss
from narrows.recipes.recipe import AdamW, Recipe
from narrows.recipes.scores import speech_scores

LARGEST_GRADIENT = 1.0  # norm to which the gradients are cut


class Training(lightning.LightningModule):
    """A recipe as a Lightning module. `average`, a running mean of the trained weights, is what the run delivers.

    recordings: to train on, at the recipe's rate. An epoch is `validate_every` steps; crops are drawn by (seed, first
    step of the epoch, item), so a resumed run sees the same.
    """

    step: Tensor

    def __init__(self, recipe: Recipe, recordings: Recordings) -> None:
        super().__init__()
        self.recipe = recipe
        self.automatic_optimization = False
        self.codec = recipe.codec
        self.average = copy.deepcopy(recipe.codec).requires_grad_(False).eval()
        self.losses = nn.ModuleDict({name: module for name, (_, module) in recipe.losses.items()})
        self.frame_losses = nn.ModuleDict({name: module for name, (_, module) in recipe.frame_losses.items()})
        weighted = {**recipe.losses, **recipe.frame_losses}
        self.weights = {name: weight for name, (weight, _) in weighted.items()} | dict(recipe.weights)
        self.discriminators = nn.ModuleList(recipe.discriminators)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self._recordings = recordings
        self._valid = Recordings(recipe.data.valid, recipe.sample_rate)

    def train_dataloader(self) -> DataLoader[Tensor]:
        """Crops of this epoch."""
        data, recipe = self.recipe.data, self.recipe
        samples = max(1, round(data.seconds * recipe.sample_rate) // recipe.codec.stride) * recipe.codec.stride
        step = int(self.step)
        count = min(recipe.schedule.validate_every, recipe.schedule.steps - step) * data.batch
        crops = Crops(self._recordings, samples, count, (recipe.seed, step), data.speeds)
        return DataLoader(crops, batch_size=data.batch, num_workers=data.workers, pin_memory=torch.cuda.is_available())

    def on_train_epoch_end(self) -> None:
        """End the run after its last step."""
        self.trainer.should_stop = int(self.step) >= self.recipe.schedule.steps

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
        self._descend(optimizers[0], total, rate, self.codec)
        self._follow(step)
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
        self._descend(optimizer, loss, rate, self.discriminators)
        return loss

    def _descend(self, optimizer: Any, loss: Tensor, rate: float, module: nn.Module) -> None:
        for group in optimizer.param_groups:
            group["lr"] = group["full_lr"] * rate
        optimizer.zero_grad()
        self.manual_backward(loss)
        norm = nn.utils.clip_grad_norm_(module.parameters(), LARGEST_GRADIENT)
        if norm.isfinite():  # a step that has gone astray is left out
            optimizer.step()

    @torch.no_grad()
    def _follow(self, step: int) -> None:
        """Move the average towards the codec; faster at first, so that it leaves its random start behind."""
        decay = min(self.recipe.schedule.average, (1 + step) / (10 + step))
        ours, theirs = self.average.state_dict(), self.codec.state_dict()
        for name, value in ours.items():
            if value.is_floating_point():
                value.lerp_(theirs[name], 1 - decay)
            else:
                value.copy_(theirs[name])


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
