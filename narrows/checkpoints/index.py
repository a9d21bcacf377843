"""The index of models that ship with the package. Reading it imports neither torch nor numpy."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any

from narrows.errors import InputError, shortened
from narrows.tokenizers.evaluations import evaluation_of

MODELS_FOLDER = Path(__file__).parent
RATES = {  # by medium: key of the rate in the points of an evaluation, and its unit
    "audio": ("file_kbps", "kbit/s"),
    "image": ("bits_per_pixel", "bits per pixel"),
    "video": ("bits_per_pixel", "bits per pixel"),
}


@dataclass(frozen=True)
class ShippedModel:
    """A model that ships with the package.

    Attributes:
        name: name for `load`.
        medium: "audio", "image" or "video".
        summary: one-line description.
        licence: licence of the weights.
        fingerprint: fingerprint of the tokenizer; see `Tokenizer.fingerprint`.
        numbers: results of the evaluation.
    """

    name: str
    medium: str
    summary: str
    licence: str = field(repr=False)
    fingerprint: str = field(repr=False)
    numbers: dict[str, Any] = field(repr=False)

    @property
    def rates(self) -> tuple[float, ...]:
        """The measured rates of its settings, lowest first: kbit/s of audio, else bits per pixel; of whole files.

        Raises ModelError for a damaged evaluation.
        """
        points = evaluation_of(MODELS_FOLDER / self.name)
        return tuple(sorted(point[RATES[self.medium][0]] for point in points if point["codec"] == self.name))


class Models(tuple[ShippedModel, ...]):
    """Models, which show themselves as a table."""

    __slots__ = ()

    def __repr__(self) -> str:
        rows = [HEAD, *self._rows()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
        return "\n".join(line.rstrip() for line in lines)

    def _repr_html_(self) -> str:
        """The table, for notebooks."""
        from narrows.media import notebook  # imports Pillow

        return notebook.table(HEAD, self._rows())

    def _rows(self) -> list[tuple[str, ...]]:
        return [(model.name, model.medium, _range(model), model.summary, model.licence) for model in self]


HEAD = ("name", "medium", "rate", "summary", "licence")


def models(medium: str | None = None, *, max_kbps: float | None = None) -> Models:
    """The models that ship with the package, sorted by name. Does not import torch.

    Args:
        medium: only those of a medium, "audio", "image" or "video".
        max_kbps: only audio models with a setting whose files took at most this rate in their evaluation, in kbit/s.

    Raises:
        InputError: for an unknown medium, and a rate in kbit/s for another medium than audio.
    """
    if medium is not None and medium not in tuple(RATES):
        raise InputError(f"expected one of the media {', '.join(RATES)}, got {shortened(medium)}")
    is_number = isinstance(max_kbps, Real) and not isinstance(max_kbps, bool)
    if max_kbps is not None and (not is_number or not max_kbps > 0 or medium not in (None, "audio")):
        raise InputError(f"expected max_kbps as a number above 0, for audio, got {shortened(max_kbps)}; leave it out")
    index = json.loads((MODELS_FOLDER / "index.json").read_text(encoding="utf-8"))
    found: Iterable[ShippedModel] = (ShippedModel(name=name, **index[name]) for name in sorted(index))
    if medium is not None:
        found = (model for model in found if model.medium == medium)
    if max_kbps is not None:
        found = (model for model in found if model.medium == "audio" and min(model.rates, default=0) <= max_kbps)
    return Models(found)


def _range(model: ShippedModel) -> str:
    rates = model.rates
    return f"{rates[0]:.2g} to {rates[-1]:.2g} {RATES[model.medium][1]}" if rates else ""
