"""The classifiers that recipes start from: by the name of a part or of timm, with weights from a file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from narrows.codecs.image.classifiers import Classifier
from narrows.codecs.image.timm_classifier import TimmClassifier
from narrows.errors import InputError, ModelError
from narrows.parts import build, names


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
    """Load the weights of a classifier, as far as it has them, from a .safetensors file with its or timm's names.

    Raises:
        InputError: for a file that is no .safetensors file.
        ModelError: for weights that are missing, of another shape or not finite.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if weights.suffix != ".safetensors" or not weights.is_file():
        raise InputError(f"expected an existing .safetensors file as weights, got {str(weights)!r}")
    network: nn.Module = classifier.network if isinstance(classifier, TimmClassifier) else classifier
    try:
        found = load_file(weights)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{weights} cannot be read: {' '.join(str(error).split())[:160]}; fetch it again") from error
    expected = network.state_dict()
    for key, tensor in expected.items():
        if key not in found or found[key].shape != tensor.shape:
            got = f"one of {tuple(found[key].shape)}" if key in found else "none"
            raise ModelError(f"expected the tensor {key} of shape {tuple(tensor.shape)} in {weights}, got {got}")
        if not bool(found[key].isfinite().all()):
            raise ModelError(f"expected finite weights in {weights}, got NaN or infinity in {key}")
    network.load_state_dict({key: found[key] for key in expected})
