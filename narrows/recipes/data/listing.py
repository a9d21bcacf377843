"""The items of training data: where each is, and how probable it is to be drawn. Only a small sample is opened.

sources ─▶ items, one after another ─▶ a line of JSON and the bytes of each ─▶ amounts, estimated ─▶ a random item
"""

import json
from array import array
from collections.abc import Callable, Sequence
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from narrows.datasets.base import Location, SourceItem
from narrows.datasets.plan import SAMPLE, amount_per_byte
from narrows.datasets.sources import iterate_items
from narrows.media.files import Source
from narrows.media.folders import suffix
from narrows.media.medium import Medium

STRETCH_BYTES = 32 << 20  # of rows of a table that are read together
STRETCHES = 4  # of each turn


class Listing:
    """The items of one source or several, each of any kind that `codec tokenize` reads.

    An item is drawn with a probability in proportion to its amount: seconds or pixels. The amount is estimated as its
    bytes, times the amount per byte of up to 32 items of its source with its suffix. This is exact for uncompressed
    files of one format, and about a tenth off for speech as FLAC; an item of half the bitrate is drawn half as often
    as its amount would have it. All rows of a Parquet row group have the same probability.

    It takes about 150 bytes of memory per item, which the processes that load data share.

    Args:
        sources: each as `list_items` takes it.
        medium: of the items.
        amount_of: the amount of an opened item; raises MediaError.

    Raises:
        InputError: for a source without items, and as `list_items` does.

    Attributes:
        sources: as given.
        digest: of the locations and sizes of all items, in hexadecimal.
    """

    def __init__(self, sources: Sequence[str], medium: Medium, amount_of: Callable[[Source], float]) -> None:
        self.sources = tuple(sources)
        lines, ends, sizes, groups = bytearray(), array("q"), array("q"), array("q")
        encoder = json.JSONEncoder(separators=(",", ":"))
        group_of: dict[tuple[str, str], int] = {}
        begins, stops, filled = array("q"), array("q"), 0  # of the stretches
        for source in self.sources:
            for index, item in enumerate(iterate_items(source, medium.name), len(ends)):
                at, size = item.location, item.location.size or 0
                lines += encoder.encode([at.path, at.start, at.size, at.row, at.column]).encode()
                ends.append(len(lines))
                sizes.append(size)
                groups.append(group_of.setdefault((source, suffix(at.path)), len(group_of)))
                if at.row is not None:
                    if not stops or at.row == 0 or index != stops[-1] or filled + size > STRETCH_BYTES:
                        begins.append(index)
                        stops.append(index)
                        filled = 0
                    stops[-1] = index + 1
                    filled += size
        self.digest = sha256(lines).hexdigest()[:16]
        self._lines, self._ends = np.frombuffer(bytes(lines), np.uint8), np.array(ends)
        ratios = self._ratios(np.array(groups), medium, amount_of)
        self._reached = np.maximum(np.array(sizes) * ratios, medium.min_amount).cumsum()
        self._begins, self._stops = np.array(begins, np.int64), np.array(stops, np.int64)
        self._reached_in_rows = (self._reached[self._stops - 1] - self._before(self._begins)).cumsum()

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> SourceItem:
        """An item, whose key is its place in its file."""
        begin = int(self._ends[index - 1]) if index else 0
        location = Location(*json.loads(self._lines[begin : int(self._ends[index])].tobytes()))
        key = "" if location.start is None else f"byte {location.start}"
        return SourceItem(key if location.row is None else f"row {location.row}", location)

    def draw(self, rng: np.random.Generator, turn: Sequence[int]) -> int:
        """The index of a random item.

        The rows of a Parquet row group can only be read one after another. So those of successive crops are drawn from
        a few stretches of rows, which are read once and kept for a while.

        Args:
            rng: of the crop.
            turn: seed of the stretches, the same for successive crops.
        """
        index = _drawn(self._reached, rng)
        if len(self.stretch(index)) == 0:
            return index
        chosen = np.random.default_rng((*turn, int(rng.integers(STRETCHES))))
        number = _drawn(self._reached_in_rows, chosen)
        begin, stop = int(self._begins[number]), int(self._stops[number])
        amount = rng.uniform(self._before(np.array([begin]))[0], self._reached[stop - 1])
        return min(max(int(np.searchsorted(self._reached, amount, "right")), begin), stop - 1)

    def stretch(self, index: int) -> range:
        """The rows of a table that are read together with a row; empty for other items."""
        number = int(np.searchsorted(self._begins, index, "right")) - 1
        if number < 0 or index >= self._stops[number]:
            return range(0)
        return range(int(self._begins[number]), int(self._stops[number]))

    def _before(self, indices: NDArray[np.int64]) -> NDArray[np.float64]:
        """The amount of all items before each of some."""
        before: NDArray[np.float64] = np.where(indices > 0, self._reached[indices - 1], 0.0)
        return before

    def _ratios(
        self, groups: NDArray[np.int64], medium: Medium, amount_of: Callable[[Source], float]
    ) -> NDArray[np.float64]:
        """The amount per byte of each item, from a sample of its group."""
        rng = np.random.default_rng(0)
        ratios = np.empty(int(groups.max()) + 1)
        for group in range(len(ratios)):
            members = np.flatnonzero(groups == group)
            chosen = np.sort(rng.choice(members, min(SAMPLE, len(members)), replace=False))
            sample = (self[int(index)] for index in chosen)
            ratios[group] = amount_per_byte(sample, amount_of) or medium.amount_per_byte
        every: NDArray[np.float64] = ratios[groups]
        return every


def _drawn(reached: NDArray[np.float64], rng: np.random.Generator) -> int:
    """A random index, with probabilities in proportion to the differences of the increasing numbers `reached`."""
    return min(int(np.searchsorted(reached, rng.random() * reached[-1], "right")), len(reached) - 1)
