"""What a report may show beside the results."""

from collections.abc import Mapping
from dataclasses import dataclass

from narrows.evaluation.base import Signal


@dataclass(frozen=True)
class Sample:
    """An item itself: as it was, and as each point decoded it, by the names of points."""

    item: str
    reference: Signal
    decoded: Mapping[str, Signal]
