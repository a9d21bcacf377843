"""Base classes of training runs: the abstract recipe and the Lightning module that trains it.

Recipe      what to train: codec, data, losses, optimizer, schedule. A frozen dataclass.
Training    how to train it: optimizer steps, gradient clipping, EMA of the weights, the final checkpoint.

To write a new recipe, subclass both classes, or a pair of subclasses from another module of this package.
`run(recipe, folder)` trains it.
"""

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import lightning
import torch
from torch import Tensor, nn

from narrows.bitstream import FrequencyTables
from narrows.checkpoints import folder
from narrows.codecs.codec import Codec
from narrows.recipes.settings import AdamW, Schedule
from narrows.tokenizers.tokenizer import Tokenizer

MAX_GRADIENT_NORM = 1.0


@dataclass(frozen=True, kw_only=True)
class Recipe(ABC):
    """All settings of a training run except the device and the output folder.

    Args:
        name: Name of the trained checkpoint.
        codec: The codec to train, with its initial weights.
        optimizer: Optimizer of the codec.
        schedule: Length of the run and learning-rate schedule.
        seed: Seed of data order, crops and noise.
    """

    name: str
    codec: Codec
    optimizer: AdamW = field(default_factory=AdamW)
    schedule: Schedule = field(default_factory=Schedule)
    seed: int = 0

    def __post_init__(self) -> None:
        folder.check_name(self.name)

    @abstractmethod
    def training(self) -> "Training":
        """The Lightning module that trains this recipe.

        Raises:
            InputError: For incompatible settings, and for folders without media.
        """

    @abstractmethod
    def smoke(self) -> Self:
        """A copy of this recipe for a smoke test: tiny batches and a few steps through every phase of training."""

    @abstractmethod
    def on_synthetic_data(self, folder: Path) -> Self:
        """A copy of this recipe that trains and validates on synthetic data, which is written to `folder`."""


class Training(lightning.LightningModule, ABC):
    """The Lightning module that trains a codec.

    One epoch is `schedule.validate_every` steps. Each parameter group of an optimizer holds its peak learning rate as
    `peak_lr`. `ema` is a copy of the codec whose weights are the exponential moving average of the trained weights.

    Args:
        recipe: Recipe to train.
    """

    recipe: Recipe
    step: Tensor

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.recipe, self.codec, self.schedule = recipe, recipe.codec, recipe.schedule
        self.ema = copy.deepcopy(recipe.codec).requires_grad_(False).eval()
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    @abstractmethod
    def initialize(self) -> None:
        """Set the codec's weights at the start of a new run. Does nothing if training starts from random weights."""

    @abstractmethod
    def tokenizer(self, codec: Codec) -> Tokenizer:
        """A tokenizer with a trained codec, to be stored in the checkpoint."""

    @abstractmethod
    def fit_tables(self, tokenizer: Tokenizer) -> FrequencyTables | None:
        """Frequency tables for entropy coding of a trained codec, counted on training data.

        Returns:
            The tables, or None for a codec without codebooks.
        """

    @property
    def epoch_steps(self) -> int:
        """Number of steps in the next epoch."""
        return min(self.schedule.validate_every, self.schedule.steps - int(self.step))

    def on_train_epoch_end(self) -> None:
        """End the run after its last step."""
        self.trainer.should_stop = int(self.step) >= self.schedule.steps

    def write_checkpoint(self, out: Path) -> Path:
        """Fit the frequency tables and write the EMA codec to the folder out/checkpoint.

        Returns:
            The checkpoint folder.
        """
        target, tokenizer = out / "checkpoint", self.tokenizer(self.ema)
        tokenizer.name = self.recipe.name
        folder.save(target, tokenizer, torch.float16)
        tokenizer = folder.read(target)  # fit the tables to the stored float16 weights
        tokenizer.tables = self.fit_tables(tokenizer)
        folder.save(target, tokenizer, torch.float16)
        return target

    def update(self, optimizer: Any, loss: Tensor, lr_fraction: float, module: nn.Module) -> None:
        """Do one optimizer step with clipped gradients. A step with non-finite gradients is skipped.

        Args:
            optimizer: Optimizer of the parameters of `module`.
            loss: Scalar to minimise.
            lr_fraction: Learning rate as a fraction of each parameter group's `peak_lr`.
            module: Module whose gradients are clipped to the norm `MAX_GRADIENT_NORM`.
        """
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * lr_fraction
        optimizer.zero_grad()
        self.manual_backward(loss)
        norm = nn.utils.clip_grad_norm_(module.parameters(), MAX_GRADIENT_NORM)
        if norm.isfinite():
            optimizer.step()

    @torch.no_grad()
    def update_ema(self, step: int) -> None:
        """Update the EMA of the weights; its decay is smaller in the first steps, to forget the initial weights."""
        decay = min(self.schedule.ema_decay, (1 + step) / (10 + step))
        averaged, current = self.ema.state_dict(), self.codec.state_dict()
        for name, value in averaged.items():
            if value.is_floating_point():
                value.lerp_(current[name], 1 - decay)
            else:
                value.copy_(current[name])
