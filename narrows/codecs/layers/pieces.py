"""A long signal in overlapping pieces, for layers of a bounded reach within a network that sees all of it.

positions   ├───────────────────────────────────────┤
piece 0     ├══════════════──┤                            ═ kept   ─ context
piece 1               ├──══════════════──┤
piece 2                             ├──═════════════┤
"""

from collections.abc import Iterator


def overlapping(count: int, size: int, reach: int) -> Iterator[tuple[slice, slice]]:
    """Pieces of `count` positions that keep at most `size` each: what is computed, and what is kept of the result.

    Args:
        count: positions of the signal.
        size: positions that a piece keeps.
        reach: positions to each side on which one depends.
    """
    for first in range(0, count, size):
        last = min(count, first + size)
        start = max(0, first - reach)
        yield slice(start, min(count, last + reach)), slice(first - start, last - start)
