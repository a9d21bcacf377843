"""Windows: a signal of any length as equal pieces whose middles make up the whole result.

    length    ├───────────────────────────────────────┤
    window 0  ├═════════════──┤                            ═ kept   ─ within `reach` of a cut: computed, dropped
    window 1            ├──═══════════──┤
    window 2                       ├──════════════════┤    the last one is aligned to the end of the signal

A network in which an output position depends on at most `reach` positions to each side gives, in the kept middles, what
it gives on the whole signal. Beginning and end of the signal stay beginning and end of a window, so padding falls where
it would have fallen.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from narrows.errors import InputError


@dataclass(frozen=True)
class Window:
    """Positions [start, stop) go in; of the result, positions [first, last) of the signal are kept."""

    start: int
    stop: int
    first: int
    last: int

    @property
    def kept(self) -> slice:
        """The kept part, counted from the window's own start."""
        return slice(self.first - self.start, self.last - self.start)


def cut(length: int, size: int, reach: int | None, fixed: bool = False) -> Iterable[Window]:
    """As few windows as cover `length` positions, all of one size: the least that does, at most `size`.

    fixed: of just `size` positions, whatever the length, so that windows of many signals have one shape; what the last
    two share is computed twice. One window of all when the signal is not longer than `size`, and for what has no reach
    (None) because it sees the whole signal.

    Raises InputError when a window has no middle left beside twice the reach.
    """
    if length < 1:
        raise InputError(f"a signal of {length} positions given, at least 1 wanted")
    if reach is None:
        return (Window(0, length, 0, length),)
    if size <= 2 * reach:
        raise InputError(f"windows of {size} positions given, more than twice the reach of {reach} wanted")
    if length <= size:
        return (Window(0, length, 0, length),)
    count = -(-(length - 2 * reach) // (size - 2 * reach))
    if not fixed:
        size = -(-(length + 2 * reach * (count - 1)) // count)
    return _overlapping(length, size, reach, count)


def _overlapping(length: int, size: int, reach: int, count: int) -> Iterator[Window]:
    """One after another: however many a file claims, none takes memory before its turn."""
    done = 0
    for number in range(count):
        start = min(number * (size - 2 * reach), length - size)
        last = length if number == count - 1 else start + size - reach
        yield Window(start, start + size, done, last)
        done = last
