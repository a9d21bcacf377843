"""Overlapping windows, so that a network can process a signal piece by piece with the same result as at once.

    length    ├───────────────────────────────────────┤
    window 0  ├═════════════──┤                            ═ kept   ─ depends on missing context: dropped
    window 1            ├──═══════════──┤
    window 2                       ├──════════════════┤    the last window ends where the signal ends

The reach of a network is the number of positions before and after an output position that influence it. If it is
bounded, the outputs in the kept parts equal those on the whole signal. The first window starts and the last one ends
with the signal, so the network pads at the same places. On several axes, a tile has one window per axis.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from narrows.codecs.base import Reach
from narrows.errors import InputError
from narrows.tokenizers.side_by_side import side_by_side


@dataclass(frozen=True)
class Window:
    """A range of positions along one axis: [start, stop) is computed, and of it [first, last) is kept."""

    start: int
    stop: int
    first: int
    last: int

    @property
    def source(self) -> slice:
        """The computed positions."""
        return slice(self.start, self.stop)

    @property
    def target(self) -> slice:
        """The kept positions."""
        return slice(self.first, self.last)

    @property
    def kept(self) -> slice:
        """The kept positions, relative to the start of the window."""
        return slice(self.first - self.start, self.last - self.start)

    def scaled(self, stride: int) -> "Window":
        """The same window in samples, with `stride` samples per position."""
        return Window(self.start * stride, self.stop * stride, self.first * stride, self.last * stride)


Tile = tuple[Window, ...]  # one window per axis


def cut(length: int, size: int, reach: Reach, fixed: bool = False) -> Iterable[Window]:
    """Split a signal into windows: the smallest possible number, all of equal size, at most `size` positions.

    There is one window if the signal has at most `size` positions, or if the reach is None.

    Args:
        length: positions of the signal.
        size: maximum positions of a window.
        reach: positions before and after an output position that influence it; None if all positions do.
        fixed: use windows of exactly `size` positions, so that windows of different signals have the same shape. The
            last two windows may then overlap more.

    Raises:
        InputError: for an empty signal, and for a size that is not above the reach.
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
    """Makes windows one at a time, so that a wrong length in a file header needs no memory."""
    done = 0
    for number in range(count):
        start = min(number * (size - sum(reach)), length - size)
        last = length if number == count - 1 else start + size - reach[1]
        yield Window(start, start + size, done, last)
        done = last


def rounded_up(length: int) -> int:
    """A length from `length` on, longer by at most an eighth: many lengths become the same few."""
    step = 1 << max(0, length.bit_length() - 4)
    return -(-length // step) * step


def bands(length: int, size: int, reach: tuple[int, int]) -> Iterator[Window]:
    """Windows that keep `size` positions each; the last may keep fewer."""
    for first in range(0, length, size):
        last = min(length, first + size)
        yield Window(max(0, first - reach[0]), min(length, last + reach[1]), first, last)


def tiles(*axes: Callable[[], Iterable[Window]]) -> Iterator[Tile]:
    """All combinations of the windows of several axes; the last axis varies fastest. Each argument yields one axis."""
    if not axes:
        yield ()
        return
    for window in axes[0]():
        for others in tiles(*axes[1:]):
            yield (window, *others)


def decode_tiles(
    values: Tensor,
    grid_tiles: Iterable[Tile],
    stride: tuple[int, ...],
    network: Callable[[Tensor], Tensor],
    batch: int = 1,
    lanes: int = 1,
) -> Iterator[tuple[Tile, Tensor]]:
    """Run a network on a latent grid, tile by tile.

    Args:
        values: codes or latents (S, k, *grid).
        grid_tiles: tiles of the grid; tiles in the same batch must have the same shape.
        stride: samples of the signal per latent position, for each axis.
        network: function of values (n, k, *positions) that returns signals (n, C, *samples).
        batch: number of tiles per call of the network.
        lanes: calls that run side by side; see `side_by_side`.

    Returns:
        For each tile, its windows in samples and the kept part (S, C, *samples) of the result.
    """
    remaining = iter(grid_tiles)
    while some := list(islice(remaining, batch * lanes)):
        groups = [some[first : first + batch] for first in range(0, len(some), batch)]
        inputs = [
            torch.cat([_sliced(values, tuple(window.source for window in tile)) for tile in group]) for group in groups
        ]
        for group, decoded in zip(groups, side_by_side(network, inputs), strict=True):
            for tile, x in zip(group, decoded.split(len(values)), strict=True):
                samples = tuple(window.scaled(step) for window, step in zip(tile, stride, strict=True))
                yield samples, _sliced(x, tuple(window.kept for window in samples))


def _sliced(x: Tensor, slices: tuple[slice, ...]) -> Tensor:
    """Slice the last axes."""
    index: tuple[Any, ...] = (..., *slices)
    return x[index]
