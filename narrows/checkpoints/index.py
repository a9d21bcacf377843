"""The models that ship with the package, by name. Reading the index needs no torch."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Entry:
    """A named model of the index."""

    name: str
    medium: str
    summary: str
    licence: str
    fingerprint: str
    numbers: dict[str, Any]


def entries() -> list[Entry]:
    """The models that ship with the package, by name. Reads one JSON file and needs no torch."""
    index = json.loads((HERE / "index.json").read_text(encoding="utf-8"))
    return [Entry(name=name, **index[name]) for name in sorted(index)]
