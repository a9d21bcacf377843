"""The models that ship with the package, by name. Reading the index needs no torch."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


@dataclass(frozen=True)
class ShippedModel:
    """A model of the index.

    Attributes:
        name: by which `load` finds it.
        medium: "audio" or "image".
        summary: one line.
        licence: of the weights.
        fingerprint: of tokenizer and weights, see `Tokenizer.fingerprint`.
        numbers: results of its evaluation.
    """

    name: str
    medium: str
    summary: str
    licence: str
    fingerprint: str
    numbers: dict[str, Any]


def models() -> list[ShippedModel]:
    """The models that ship with the package, by name. Reads one JSON file and needs no torch."""
    index = json.loads((HERE / "index.json").read_text(encoding="utf-8"))
    return [ShippedModel(name=name, **index[name]) for name in sorted(index)]
