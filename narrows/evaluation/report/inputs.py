"""What a report may show beside the results. Points are named as in the results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from narrows.errors import InputError
from narrows.evaluation.base import Signal


@dataclass(frozen=True)
class Sample:
    """An item itself: as it was, and as each point decoded it."""

    item: str
    reference: Signal
    decoded: Mapping[str, Signal]


@dataclass(frozen=True)
class Bands:
    """An error by bands of frequency.

    edges: N + 1 in Hz, rising, above 0. values: N for each point. what: name and unit, such as "error, dB".
    Raises InputError for other edges and other numbers of values.
    """

    edges: Sequence[float]
    values: Mapping[str, Sequence[float]]
    what: str

    def __post_init__(self) -> None:
        pairs = list(zip(self.edges, self.edges[1:], strict=False))
        if not pairs or not all(0 < low < high for low, high in pairs):
            raise InputError(f"edges {list(self.edges)} of bands were given; give two at least, rising from above 0 Hz")
        for point, values in self.values.items():
            if len(values) != len(pairs):
                raise InputError(f"{len(values)} bands of {point!r} were given, {len(pairs)} lie between the edges")


@dataclass(frozen=True)
class Robustness:
    """A metric of damaged streams.

    values: for each point pairs of the share of bits that were flipped, above 0, and the metric. what: its name and
    unit, such as "PESQ". Raises InputError for other shares.
    """

    values: Mapping[str, Sequence[tuple[float, float]]]
    what: str

    def __post_init__(self) -> None:
        for point, pairs in self.values.items():
            if not pairs or not all(0 < share <= 1 for share, _ in pairs):
                raise InputError(f"shares of flipped bits of {point!r} must be above 0, at most 1; leave out others")


@dataclass(frozen=True)
class CodebookUse:
    """A codebook over all items: entries it has, entries that were used, entropy of their use in bits a code."""

    size: int
    used: int
    entropy: float
