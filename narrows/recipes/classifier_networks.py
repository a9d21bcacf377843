"""The classifiers that recipes start from: by the name of a part or of timm, with weights from a file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from narrows.codecs.image.classifiers import Classifier
from narrows.codecs.image.timm_classifier import TimmClassifier
from narrows.errors import InputError
from narrows.parts import build, names
from narrows.recipes.initialization.weight_file import load_weight_file


def classifier_network(name: str, classes: int, options: Mapping[str, Any]) -> Classifier:
    """A classifier with random weights.

    Args:
        name: of a registered part, such as conv-classifier, or of a network of timm, such as resnet18.
        classes: number of classes.
        options: other arguments of the part.

    Raises:
        InputError: for a name that neither knows, and options of a network of timm.
        PartError: for arguments that the part does not take.
    """
    if name in names("classifier"):
        made = build({"part": name, "classes": classes, **options})
        assert isinstance(made, Classifier)
        return made
    if options:
        raise InputError(f"expected no options of the timm network {name!r}, got {dict(options)}; leave them out")
    return TimmClassifier(name, classes)


def load_weights(classifier: Classifier, weights: Path) -> None:
    """Load the weights of a classifier, as far as it has them, from a file with its or timm's names.

    Raises InputError and ModelError as `load_weight_file` does.
    """
    network: nn.Module = classifier.network if isinstance(classifier, TimmClassifier) else classifier
    load_weight_file(network, weights, type(classifier).__name__)
