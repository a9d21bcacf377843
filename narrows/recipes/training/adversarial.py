"""Training against discriminators: what runs of all media share.

x ──▶ codec ──▶ y ──▶ losses(y, x) + bottleneck's losses + what discriminators say of y ──▶ codec's weights
                └──▶ discriminators(x), discriminators(y) ──▶ discriminators' weights
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from narrows.bitstream import Tables
from narrows.checkpoints import folder
from narrows.codecs.codec import Codec
from narrows.errors import InputError
from narrows.recipes.losses.adversarial import Features, discriminator_loss
from narrows.recipes.settings import AdamW, Adversary, Schedule
from narrows.recipes.training.base import Descent

Losses = Mapping[str, tuple[float, nn.Module]]  # by name, weight and module


class Adversarial(Descent):
    """A codec in training with weighted losses and, from a step on, against discriminators.

    weights: of all losses by the last part of their names. straight: share of the learning rate for straight paths and
    projections.
    """

    def __init__(
        self,
        codec: Codec,
        schedule: Schedule,
        weights: Mapping[str, float],
        optimizer: AdamW,
        discriminators: Sequence[nn.Module],
        adversary: Adversary,
        straight: float = 1.0,
    ) -> None:
        super().__init__(codec, schedule)
        self.weights, self.optimizer, self.adversary, self.straight = weights, optimizer, adversary, straight
        self.discriminators = nn.ModuleList(discriminators)

    @abstractmethod
    def tables(self, codec: Codec) -> Tables | None:
        """Frequency tables of a finished codec, counted on training data; None where it has no codes."""

    @property
    def learning(self) -> nn.Module:
        """All that learns but for the discriminators."""
        return self.codec

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """One optimiser for the codec, one for the discriminators."""
        optimizers: list[torch.optim.Optimizer] = [_adamw(self.learning, self.optimizer, self.straight)]
        if self.discriminators:
            optimizers.append(_adamw(self.discriminators, replace(self.optimizer, lr=self.adversary.lr)))
        return optimizers

    def has_begun(self, step: int) -> bool:
        """Whether there are discriminators that learn at a step."""
        return bool(self.discriminators) and step >= max(self.adversary.start, self.schedule.signal)

    def weighted(self, values: Mapping[str, Tensor]) -> Tensor:
        """The sum of some losses times their weights. Raises InputError for a loss without one."""
        return torch.stack([self._weight(name) * value for name, value in values.items()]).sum()

    def judge(self, x: Tensor, y: Tensor, rate: float) -> tuple[Tensor, list[Features], list[Features]]:
        """One step of the discriminators on given x and decoded y: their loss, and what they then say of x and of y.

        Gradients of that go to y, not to the discriminators.
        """
        loss = discriminator_loss(*self._judged(x, y.detach()))
        self.descend(self._optimizers()[1], loss, rate, self.discriminators)
        self.discriminators.requires_grad_(False)
        real, fake = self._judged(x, y)
        self.discriminators.requires_grad_(True)
        return loss, real, fake

    def improve(self, loss: Tensor, values: Mapping[str, Tensor], rate: float) -> None:
        """One step of the codec, and the end of the training step: the average follows, values are logged."""
        step = int(self.step)
        self.descend(self._optimizers()[0], loss, rate, self.learning)
        self.follow(step)
        self.step += 1
        self.log_dict({name: value.detach() for name, value in values.items()}, prog_bar=True)

    def save(self, out: Path, name: str, sample_rate: int = 0) -> Path:
        """Count the tables and write the averaged codec as a checkpoint folder below `out`."""
        target = out / "checkpoint"
        folder.save(target, self.average, name, sample_rate)
        codec = folder.read(target).codec  # the tables belong to the weights as they are stored, in half precision
        folder.save(target, codec, name, sample_rate, self.tables(codec))
        return target

    def _optimizers(self) -> list[Any]:
        optimizers: Any = self.optimizers()
        return optimizers if isinstance(optimizers, list) else [optimizers]

    def _weight(self, name: str) -> float:
        last = name.rsplit("/", 1)[-1]  # a bottleneck of bottlenecks returns "semantic/commitment"
        if last not in self.weights:
            raise InputError(f"the bottleneck returns the loss {name!r}; give {last!r} a weight in the recipe")
        return self.weights[last]

    def _judged(self, x: Tensor, y: Tensor) -> tuple[list[Features], list[Features]]:
        return [judge(x) for judge in self.discriminators], [judge(y) for judge in self.discriminators]


def weights_of(*losses: Losses) -> dict[str, float]:
    """The weights of losses by their names."""
    return {name: weight for several in losses for name, (weight, _) in several.items()}


def modules_of(losses: Losses) -> nn.ModuleDict:
    """The modules of losses by their names."""
    return nn.ModuleDict({name: module for name, (_, module) in losses.items()})


def _adamw(module: nn.Module, settings: AdamW, straight: float = 1.0) -> torch.optim.AdamW:
    """An optimiser of `module` whose straight paths and projections learn at a share of the rate."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
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
