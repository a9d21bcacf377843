"""A bottleneck inside a frozen classifier, trained by distillation (Entropic Student, arXiv 2108.11898, section 3).

steps            what is trained                  loss
teacher_steps    the teacher, if it is random     cross-entropy
matching_steps   encoder, bottleneck, decoder     squared differences of features + beta × bits
the rest         decoder, last stages             knowledge distillation; encoder and bottleneck are frozen
"""

import copy
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from narrows.codecs.image.classifiers import Classifier
from narrows.codecs.image.narrowed import NarrowedClassifier
from narrows.errors import InputError
from narrows.recipes.losses.distillation import FeatureMatchingDistillation, KnowledgeDistillation
from narrows.recipes.settings import AdamW, check_range
from narrows.recipes.training.classifier import ClassifierRecipe, ClassifierTraining
from narrows.recipes.training.optimizer import adamw


@dataclass(frozen=True, kw_only=True)
class NarrowedClassifierRecipe(ClassifierRecipe):
    """A training run of a NarrowedClassifier.

    Args:
        codec: The network to train, whose last stages are those of the teacher's architecture.
        teacher: The classifier that it learns from; it is frozen.
        beta: Weight of the bits of an image against the sum of squared differences of its features.
        teacher_steps: First steps, in which a copy of the teacher is trained on the labels; 0 for a trained one.
        matching_steps: Steps after them, in which features are matched.
        tail_optimizer: Optimizer of the last steps.

    Raises:
        InputError: For more of these steps than the schedule has.
    """

    codec: NarrowedClassifier
    teacher: Classifier
    beta: float
    teacher_steps: int
    matching_steps: int
    tail_optimizer: AdamW

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(0, beta=self.beta, teacher_steps=self.teacher_steps, matching_steps=self.matching_steps)
        if self.teacher_steps + self.matching_steps > self.schedule.steps:
            raise InputError(
                f"expected at most the {self.schedule.steps} steps of the schedule for teacher and matching, got "
                f"{self.teacher_steps} + {self.matching_steps}; give more --schedule.steps, or fewer of these"
            )

    def training(self) -> "NarrowedClassifierTraining":
        """The Lightning module that trains this recipe."""
        return NarrowedClassifierTraining(self)

    def smoke(self) -> Self:
        """This recipe with small images and two steps of each phase."""
        return self.shortened(teacher_steps=min(2, self.teacher_steps), matching_steps=2)


class NarrowedClassifierTraining(ClassifierTraining):
    """Trains a NarrowedClassifierRecipe.

    Args:
        recipe: Recipe to train.
    """

    recipe: NarrowedClassifierRecipe
    codec: NarrowedClassifier
    ema: NarrowedClassifier

    def __init__(self, recipe: NarrowedClassifierRecipe) -> None:
        super().__init__(recipe)
        self.teacher = copy.deepcopy(recipe.teacher).requires_grad_(recipe.teacher_steps > 0).eval()
        self.matching, self.distillation = FeatureMatchingDistillation(), KnowledgeDistillation()

    @property
    def validates_codec(self) -> bool:
        """Whether the teacher is trained."""
        return int(self.step) >= self.recipe.teacher_steps

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Those of the narrow part, of what is trained at the end, and of a teacher that is trained."""
        codec, settings = self.codec, self.recipe.optimizer
        narrow = nn.ModuleList([codec.encoder, codec.bottleneck, codec.decoder])
        tail = nn.ModuleList([codec.decoder, codec.tail])
        teacher = [adamw(self.teacher, settings)] if self.recipe.teacher_steps else []
        return [adamw(narrow, settings), adamw(tail, self.recipe.tail_optimizer), *teacher]

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        """Train for one step on images (B, 3, size, size) in [-1, 1] with classes (B,)."""
        x, labels = batch
        step, recipe, optimizers = int(self.step), self.recipe, list[Any](self.optimizers())
        codec, tail_start = self.codec, recipe.teacher_steps + recipe.matching_steps
        if step < recipe.teacher_steps:
            self.teacher.train()
            loss = nn.functional.cross_entropy(self.teacher(x).float(), labels)
            self.update(optimizers[2], loss, self._lr_fraction(step, recipe.teacher_steps), self.teacher)
            self.end_batch({"loss": loss})
            return
        self.teacher.eval()
        if step == recipe.teacher_steps and not self.batch:
            self.take_tail()
        with torch.no_grad():
            target = self.teacher.outputs(x)
        codec.train()
        if step < tail_start:
            codec.tail.eval()
            out = codec(x)
            distortion, bits = self.matching(out.features, target[codec.cut - 1 : -1]), out.quantized.bits.mean()
            loss = distortion + recipe.beta * bits
            fraction = self._lr_fraction(step - recipe.teacher_steps, recipe.matching_steps)
            narrow = nn.ModuleList([codec.encoder, codec.bottleneck, codec.decoder])
            self.update(optimizers[0], loss, fraction, narrow)
            self.end_batch({"loss": loss, "distortion": distortion, "bits": bits})
            return
        codec.encoder.eval()
        codec.bottleneck.eval()
        with torch.no_grad():
            quantized = codec.bottleneck(codec.encoder(x))
        loss = self.distillation(codec.finish(quantized).logits, labels, target[-1])
        tail = nn.ModuleList([codec.decoder, codec.tail])
        self.update(optimizers[1], loss, self.schedule.lr_fraction(step), tail)
        self.end_batch({"loss": loss})

    def initialize(self) -> None:
        """Take the last stages of the teacher."""
        self.take_tail()

    def take_tail(self) -> None:
        """Set the weights of the last stages to those of the teacher."""
        weights = self.teacher.state_dict()
        for codec in (self.codec, self.ema):
            codec.tail.load_state_dict({name: weights[name] for name in codec.tail.state_dict()})

    def _lr_fraction(self, step: int, steps: int) -> float:
        """Learning rate in a phase of a number of steps as a fraction of the peak."""
        return replace(self.recipe.schedule, steps=steps).lr_fraction(step)
