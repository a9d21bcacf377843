"""Windows: a signal of any length as fixed-size pieces whose middles make up the whole result.

    length    ├──────────────────────────────────────────────┤
    window 0  ├══════════════──┤                                  ═ kept   ─ within `reach` of a cut: computed, dropped
    window 1             ├──══════════──┤
    window 2                        ├──══════════──┤
    window 3                             ├───────────────════┤    the last one is aligned to the end of the signal

A network in which an output position depends on at most `reach` positions to each side gives, in the kept middles, what
it gives on the whole signal. Beginning and end of the signal stay beginning and end of a window, so padding falls where
it would have fallen.
"""

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


def cut(length: int, size: int, reach: int | None) -> list[Window]:
    """Windows of `size` positions over `length` of them; one window of all when the signal is not longer than that.

    One window of all, too, for what has no reach (None) because it sees the whole signal.

    Raises InputError when a window has no middle left beside twice the reach.
    """
    if length < 1:
        raise InputError(f"a signal of {length} positions given, at least 1 wanted")
    if reach is None:
        return [Window(0, length, 0, length)]
    if size <= 2 * reach:
        raise InputError(f"windows of {size} positions given, more than twice the reach of {reach} wanted")
    if length <= size:
        return [Window(0, length, 0, length)]
    windows = [Window(0, size, 0, size - reach)]
    while (done := windows[-1].last) < length:
        start = min(done - reach, length - size)
        last = length if start == length - size else start + size - reach
        windows.append(Window(start, start + size, done, last))
    return windows
