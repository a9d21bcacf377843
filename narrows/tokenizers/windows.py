"""Windows: a signal of any length in pieces whose middles, put together, are the result of the whole.

    length    ├───────────────────────────────────────┤
    window 0  ├═════════════──┤                            ═ kept   ─ within the reach of a cut: computed, dropped
    window 1            ├──═══════════──┤
    window 2                       ├──════════════════┤    the last one is aligned to the end of the signal

A network in which an output position depends on a bounded number of positions before and after it gives, in the kept
middles, what it gives on the whole signal. The beginning and the end of the signal are the beginning and the end of a
window, so padding happens where it would have happened. Along several axes, windows are products of those of each axis.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from narrows.codecs.base import Reach
from narrows.errors import InputError


@dataclass(frozen=True)
class Window:
    """Along one axis: positions [start, stop) are computed, the results for positions [first, last) are kept."""

    start: int
    stop: int
    first: int
    last: int

    @property
    def source(self) -> slice:
        """What is computed, in the signal."""
        return slice(self.start, self.stop)

    @property
    def target(self) -> slice:
        """What is kept, in the signal."""
        return slice(self.first, self.last)

    @property
    def kept(self) -> slice:
        """What is kept, counted from the start of the window."""
        return slice(self.first - self.start, self.last - self.start)

    def scaled(self, stride: int) -> "Window":
        """The same window in samples of the signal, `stride` per position."""
        return Window(self.start * stride, self.stop * stride, self.first * stride, self.last * stride)


Tile = tuple[Window, ...]  # one window per axis


def cut(length: int, size: int, reach: Reach, fixed: bool = False) -> Iterable[Window]:
    """As few windows as cover `length` positions, of equal size: the smallest that does, at most `size`.

    One window of everything where the signal is not longer than `size`, or where the reach is None.

    Args:
        length: positions of the signal.
        size: positions of a window at most.
        reach: positions before and after on which an output position depends; None where it depends on all.
        fixed: windows of exactly `size` positions whatever the length, so that windows of many signals have one shape;
            what the last two share is computed twice.

    Raises:
        InputError: for an empty signal, and where nothing is left of a window without the reach.
    """
    if length < 1:
        raise InputError(f"expected a signal of at least 1 position, got {length}")
    if reach is None:
        return (Window(0, length, 0, length),)
    margin = sum(reach)
    if size <= margin:
        raise InputError(f"expected windows of more positions than the reach of {margin}, got {size}")
    if length <= size:
        return (Window(0, length, 0, length),)
    count = -(-(length - margin) // (size - margin))
    if not fixed:
        size = -(-(length + margin * (count - 1)) // count)
    return _overlapping(length, size, reach, count)


def _overlapping(length: int, size: int, reach: tuple[int, int], count: int) -> Iterator[Window]:
    """Windows one after another: a length that a file claims takes no memory."""
    done = 0
    for number in range(count):
        start = min(number * (size - sum(reach)), length - size)
        last = length if number == count - 1 else start + size - reach[1]
        yield Window(start, start + size, done, last)
        done = last


def bands(length: int, size: int, reach: tuple[int, int]) -> Iterator[Window]:
    """Windows whose kept parts are `size` positions each, the last may have fewer."""
    for first in range(0, length, size):
        last = min(length, first + size)
        yield Window(max(0, first - reach[0]), min(length, last + reach[1]), first, last)


def tiles(*axes: Callable[[], Iterable[Window]]) -> Iterator[Tile]:
    """The products of windows along several axes, the last axis fastest. Each argument makes the windows of an axis."""
    if not axes:
        yield ()
        return
    for window in axes[0]():
        for rest in tiles(*axes[1:]):
            yield (window, *rest)


def decode_tiles(
    values: Tensor, where: Iterable[Tile], stride: tuple[int, ...], network: Callable[[Tensor], Tensor], batch: int = 1
) -> Iterator[tuple[Tile, Tensor]]:
    """Values on a latent grid through a network, tile by tile.

    Args:
        values: (S, k, *grid).
        where: tiles of the grid; those that share a batch have one shape.
        stride: samples of the signal per position, per axis.
        network: (n, k, *positions) to signals (n, C, *samples).
        batch: number of tiles that share a call of the network.

    Returns:
        For each tile its place in the signal and the kept part (S, C, *samples) of the result.
    """
    remaining = iter(where)
    while group := list(islice(remaining, batch)):
        pieces = [_sliced(values, tuple(window.source for window in tile)) for tile in group]
        decoded = network(torch.cat(pieces))
        for tile, x in zip(group, decoded.split(len(values)), strict=True):
            samples = tuple(window.scaled(step) for window, step in zip(tile, stride, strict=True))
            yield samples, _sliced(x, tuple(window.kept for window in samples))


def _sliced(x: Tensor, where: tuple[slice, ...]) -> Tensor:
    """Slices of the last axes."""
    index: tuple[Any, ...] = (..., *where)
    return x[index]
