"""Discrete key-value bottlenecks: keys from unlabelled images, then values from labels, class by class if wanted."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Self

import torch
from torch import Tensor, nn

from narrows.codecs.image.narrowed import KeyValueClassifier
from narrows.errors import InputError
from narrows.recipes.settings import check_range
from narrows.recipes.training.classifier import ClassifierRecipe, ClassifierTraining

LABEL_SMOOTHING = 0.1  # of the published configuration


@dataclass(frozen=True, kw_only=True)
class KeyValueRecipe(ClassifierRecipe):
    """A training run of a KeyValueClassifier.

    The mean over K codebooks divides the gradient of the values by K, so their learning rate is K times
    `optimizer.lr`; of the optimizer's settings only `lr` is used, for stochastic gradient descent: what has no gradient
    does not change.

    Args:
        codec: The network to train.
        key_steps: First steps, in which keys are EMAs of the features of all images, whose labels are not used.
        classes_per_task: Classes of whose images the values are learned at a time, in the order of their names; 0 for
            all together.

    Raises:
        InputError: For as many steps of keys as the schedule has.
    """

    codec: KeyValueClassifier
    key_steps: int
    classes_per_task: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(1, key_steps=self.key_steps)
        check_range(0, classes_per_task=self.classes_per_task)
        if self.key_steps >= self.schedule.steps:
            raise InputError(
                f"expected fewer steps of keys than the {self.schedule.steps} of the schedule, got {self.key_steps}; "
                "give more --schedule.steps"
            )

    def training(self) -> "KeyValueTraining":
        """The Lightning module that trains this recipe."""
        return KeyValueTraining(self)

    def smoke(self) -> Self:
        """This recipe with small images, two steps of keys and four of values."""
        return self.shortened(key_steps=2)


class KeyValueTraining(ClassifierTraining):
    """Trains a KeyValueRecipe.

    Args:
        recipe: Recipe to train.
    """

    recipe: KeyValueRecipe
    codec: KeyValueClassifier

    @property
    def validates_codec(self) -> bool:
        """Whether the keys are trained."""
        return int(self.step) > self.recipe.key_steps

    def classes_at(self, step: int) -> Sequence[int] | None:
        """The classes of the task of a step; None for all, as for keys."""
        recipe, classes = self.recipe, self.codec.classes
        if step < recipe.key_steps or not recipe.classes_per_task:
            return None
        tasks = ceil(classes / recipe.classes_per_task)
        task = (step - recipe.key_steps) * tasks // (recipe.schedule.steps - recipe.key_steps)
        first = min(task, tasks - 1) * recipe.classes_per_task
        return range(first, min(first + recipe.classes_per_task, classes))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Stochastic gradient descent of the values."""
        lr = self.recipe.optimizer.lr * len(self.codec.bottleneck.codebook_sizes)
        return torch.optim.SGD([{"params": [self.codec.values], "peak_lr": lr}], lr=lr)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        """Train for one step on images (B, 3, size, size) in [-1, 1] with classes (B,)."""
        x, labels = batch
        step, optimizer = int(self.step), self.optimizers()
        self.codec.train()
        if step < self.recipe.key_steps:
            quantized = self.codec(x).quantized
            self.end_batch({"loss": quantized.losses["commitment"], **quantized.metrics})
            return
        self.codec.bottleneck.eval()
        loss = nn.functional.cross_entropy(self.codec(x).logits.float(), labels, label_smoothing=LABEL_SMOOTHING)
        self.update(optimizer, loss, self.schedule.lr_fraction(step), self.codec)
        self.end_batch({"loss": loss})
