"""What training runs of all media share: steps counted in the state, a running mean of the weights, cut gradients."""

import copy
from abc import abstractmethod
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from narrows.codecs.codec import Codec
from narrows.recipes.settings import Schedule

LARGEST_GRADIENT = 1.0  # norm to which the gradients are cut


class Descent(lightning.LightningModule):
    """A codec in training. `average`, a running mean of the trained weights, is what the run delivers.

    An epoch is `schedule.validate_every` steps. Parameter groups hold their full learning rate as `full_lr`.
    """

    step: Tensor

    def __init__(self, codec: Codec, schedule: Schedule) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.codec, self.schedule = codec, schedule
        self.average = copy.deepcopy(codec).requires_grad_(False).eval()
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    @abstractmethod
    def begin(self) -> None:
        """Set the weights of a new run, where it begins from better than random ones."""

    @abstractmethod
    def deliver(self, out: Path) -> Path:
        """Write the averaged codec as a checkpoint folder below `out`."""

    @property
    def steps_ahead(self) -> int:
        """Steps of the next epoch."""
        return min(self.schedule.validate_every, self.schedule.steps - int(self.step))

    def on_train_epoch_end(self) -> None:
        """End the run after its last step."""
        self.trainer.should_stop = int(self.step) >= self.schedule.steps

    def descend(self, optimizer: Any, loss: Tensor, rate: float, module: nn.Module) -> None:
        """One step of an optimiser of `module` at a share of its learning rates; a step gone astray is left out."""
        for group in optimizer.param_groups:
            group["lr"] = group["full_lr"] * rate
        optimizer.zero_grad()
        self.manual_backward(loss)
        norm = nn.utils.clip_grad_norm_(module.parameters(), LARGEST_GRADIENT)
        if norm.isfinite():
            optimizer.step()

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Move the average towards the codec; faster at first, so that it leaves its random start behind."""
        decay = min(self.schedule.average, (1 + step) / (10 + step))
        ours, theirs = self.average.state_dict(), self.codec.state_dict()
        for name, value in ours.items():
            if value.is_floating_point():
                value.lerp_(theirs[name], 1 - decay)
            else:
                value.copy_(theirs[name])
