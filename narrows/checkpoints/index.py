"""The index of models that ship with the package. Reading it does not import torch."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODELS_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class ShippedModel:
    """A model that ships with the package.

    Attributes:
        name: name for `load`.
        medium: "audio" or "image".
        summary: one-line description.
        licence: licence of the weights.
        fingerprint: fingerprint of the tokenizer; see `Tokenizer.fingerprint`.
        numbers: results of the evaluation.
    """

    name: str
    medium: str
    summary: str
    licence: str
    fingerprint: str
    numbers: dict[str, Any]


def models() -> list[ShippedModel]:
    """The models that ship with the package, sorted by name. Does not import torch."""
    index = json.loads((MODELS_FOLDER / "index.json").read_text(encoding="utf-8"))
    return [ShippedModel(name=name, **index[name]) for name in sorted(index)]
