"""The recipe of a classifier with a bottleneck inside: images as few bytes as their class needs (Entropic Student).

    codec train narrowed-classifier --data.train DIR --data.valid DIR              a random resnet18 is trained first
        --teacher.name resnet50 --teacher.classes 1000 --teacher.weights FILE      a trained one, which stays as it is
        --teacher.name conv-classifier --teacher.options '{"widths": [32, 64, 64]}'   a part instead of a timm network

DIR has a folder of images for each class.
"""

import copy
from dataclasses import dataclass, field
from math import log2
from pathlib import Path
from typing import Any

import torch

from narrows.codecs.bottlenecks.entropy.factorized import FactorizedPrior
from narrows.codecs.image.classifier_features import ClassifierDecoder, ClassifierEncoder
from narrows.codecs.image.classifiers import Classifier
from narrows.codecs.image.narrowed import NarrowedClassifier
from narrows.errors import InputError
from narrows.recipes.classifier_networks import classifier_network, load_weights
from narrows.recipes.settings import AdamW, LabelledData, Schedule, check_range
from narrows.recipes.training.narrowed_classifier import NarrowedClassifierRecipe

DECODER_LAYERS = 3  # at least


@dataclass(frozen=True)
class Teacher:
    """The classifier that the narrowed one learns from and takes its last stages from.

    Args:
        name: Network of timm, or a part with stages, such as conv-classifier.
        classes: Number of classes, as the data has.
        weights: .safetensors file with timm's or the part's tensor names. If not given, weights are random, and the
            teacher is trained on the labels first.
        options: Other arguments of a part by name, as JSON.
        steps: Steps in which a teacher without weights is trained.
    """

    name: str = "resnet18"
    classes: int = 10
    weights: Path | None = None
    options: dict[str, Any] = field(default_factory=dict)
    steps: int = 10_000

    def __post_init__(self) -> None:
        check_range(1, classes=self.classes)
        check_range(0, steps=self.steps)

    def network(self) -> Classifier:
        """The classifier, with the weights of the file if there is one."""
        made = classifier_network(self.name, self.classes, self.options)
        if self.weights is not None:
            load_weights(made, self.weights)
        return made.requires_grad_(False).eval()


@dataclass(frozen=True)
class Student:
    """The parts that replace the first stages of the teacher.

    Args:
        cut: Number of stages that are replaced; of resnet18, 2 are all up to its first block.
        dim: Channels of the latents.
        width: Channels inside the encoder.
        strides: Stride of each convolution of the encoder, 1 or 2.
        decoder_width: Channels inside the decoder.
    """

    cut: int = 2
    dim: int = 24
    width: int = 96
    strides: tuple[int, ...] = (2, 2, 1)
    decoder_width: int = 256

    def codec(self, teacher: Classifier) -> NarrowedClassifier:
        """The network, with random weights up to the cut and a copy of the teacher's stages after it."""
        teacher.check_cut(self.cut)
        encoder = ClassifierEncoder(self.dim, self.width, self.strides, teacher.channels)
        stride = teacher.strides[self.cut - 1]
        doublings = log2(encoder.stride[0] / stride)
        if doublings < 0 or doublings % 1:
            raise InputError(
                f"expected student.strides with a product of at least {stride}, the stride of the features after "
                f"{self.cut} stages, got {list(self.strides)}; add strides, or replace fewer stages"
            )
        strides = (2,) * int(doublings) + (1,) * max(0, DECODER_LAYERS - int(doublings))
        decoder = ClassifierDecoder(self.dim, self.decoder_width, strides, teacher.dims[self.cut - 1])
        tail = copy.deepcopy(teacher).requires_grad_(True)
        return NarrowedClassifier(encoder, FactorizedPrior(self.dim), decoder, tail, self.cut)


def narrowed_classifier(
    teacher: Teacher = Teacher(),
    student: Student = Student(),
    data: LabelledData = LabelledData(),
    beta: float = 0.64,
    matching_steps: int = 20_000,
    optimizer: AdamW = AdamW(lr=1e-3, betas=(0.9, 0.999), weight_decay=0.0),
    tail_optimizer: AdamW = AdamW(lr=1e-4, betas=(0.9, 0.999), weight_decay=5e-4),
    schedule: Schedule = Schedule(steps=50_000),
    seed: int = 0,
    name: str = "my-narrowed-classifier",
) -> NarrowedClassifierRecipe:
    """Train a bottleneck with an entropy model inside a classifier of images.

    Args:
        teacher: The classifier.
        student: What replaces its first stages.
        data: Training and validation data.
        beta: Weight of the bits of an image against the sum of squared differences of its features: more for fewer
            bytes.
        matching_steps: Steps in which the features of the teacher are matched; in those after them decoder and last
            stages learn its answers.
        optimizer: Optimizer of encoder, entropy model and decoder while features are matched, and of the teacher.
        tail_optimizer: Optimizer of decoder and last stages after that.
        schedule: Length of the run with all its phases, learning-rate schedule of each, validation, EMA.
        seed: Seed of initial weights and data.
        name: Name of the trained model, which streams carry.
    """
    torch.manual_seed(seed)
    network = teacher.network()
    return NarrowedClassifierRecipe(
        name=name,
        codec=student.codec(network),
        data=data,
        teacher=network,
        beta=beta,
        teacher_steps=0 if teacher.weights is not None else teacher.steps,
        matching_steps=matching_steps,
        optimizer=optimizer,
        tail_optimizer=tail_optimizer,
        schedule=schedule,
        seed=seed,
    )
