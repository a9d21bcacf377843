"""The recipe of the discrete key-value bottleneck: classes learned one after another without forgetting.

    codec train key-value-classifier --data.train DIR --data.valid DIR --backbone.weights FILE
        --classes_per_task 2

DIR has a folder of images for each class.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from narrows.codecs.bottlenecks.key_codebooks import KeyCodebooks
from narrows.codecs.image.classifiers import StageEncoder
from narrows.codecs.image.narrowed import KeyValueClassifier
from narrows.recipes.classifier_networks import classifier_network, load_weights
from narrows.recipes.settings import AdamW, LabelledData, Schedule
from narrows.recipes.training.key_value import KeyValueRecipe


@dataclass(frozen=True)
class FrozenBackbone:
    """The network whose features are read; it is not trained.

    Args:
        name: Network of timm, or a part with stages, such as conv-classifier.
        weights: .safetensors file with timm's or the part's tensor names; random weights if not given.
        options: Other arguments of a part by name, as JSON.
        stages: Number of stages after which its features are taken; resnet18 has 5.
    """

    name: str = "resnet18"
    weights: Path | None = None
    options: dict[str, Any] = field(default_factory=dict)
    stages: int = 5

    def encoder(self) -> StageEncoder:
        """The first stages, with the weights of the file if there is one."""
        encoder = StageEncoder(classifier_network(self.name, 1, self.options), self.stages)
        if self.weights is not None:
            load_weights(encoder.classifier, self.weights)
        return encoder


@dataclass(frozen=True)
class Keys:
    """The codebooks of keys.

    Args:
        codebooks: Number of codebooks, each for a random projection of the features.
        entries: Number of keys of each.
        key_dim: Length of a key.
        steps: First steps, in which the keys are fitted to the features of training images.
    """

    codebooks: int = 64
    entries: int = 1024
    key_dim: int = 8
    steps: int = 1000


def key_value_classifier(
    backbone: FrozenBackbone = FrozenBackbone(),
    keys: Keys = Keys(),
    data: LabelledData = LabelledData(),
    classes: int = 10,
    classes_per_task: int = 0,
    optimizer: AdamW = AdamW(lr=0.3),
    schedule: Schedule = Schedule(steps=5_000, warmup_steps=1, decay_fraction=0.0, ema_decay=0.0),
    seed: int = 0,
    name: str = "my-key-value-classifier",
) -> KeyValueRecipe:
    """Train a discrete key-value bottleneck on the features of a frozen network.

    Args:
        backbone: The frozen network.
        keys: Its codebooks.
        data: Training and validation data.
        classes: Number of classes, as the data has.
        classes_per_task: Classes that are learned at a time, in the order of their names; 0 for all together.
        optimizer: Only its `lr` is used, for stochastic gradient descent of the values; it is multiplied by the number
            of codebooks.
        schedule: Length of the run, learning-rate schedule, validation.
        seed: Seed of projections, keys and data.
        name: Name of the trained model, which streams carry.
    """
    torch.manual_seed(seed)
    encoder = backbone.encoder()
    codec = KeyValueClassifier(encoder, KeyCodebooks(encoder.dim, keys.codebooks, keys.entries, keys.key_dim), classes)
    return KeyValueRecipe(
        name=name,
        codec=codec,
        data=data,
        key_steps=keys.steps,
        classes_per_task=classes_per_task,
        optimizer=optimizer,
        schedule=schedule,
        seed=seed,
    )
