import itertools
from functools import partial

import pytest
import torch
from torch import Tensor

from narrows.errors import InputError
from narrows.tokenizers.windows import Window, bands, cut, decode_tiles, rounded_up, tiles


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize(
    ("size", "reach"), [(10, (0, 0)), (10, (2, 2)), (11, (5, 5)), (64, (7, 7)), (20, (9, 0)), (20, (3, 8))]
)
def test_every_position_is_kept_once_with_its_reach_inside(size: int, reach: tuple[int, int], fixed: bool) -> None:
    for length in [*range(1, 3 * size), 1000]:
        windows = list(cut(length, size, reach, fixed))
        kept = [position for window in windows for position in range(window.first, window.last)]
        assert kept == list(range(length))
        assert len({window.stop - window.start for window in windows}) == 1
        for window in windows:
            assert 0 <= window.start < window.stop <= length
            assert window.stop - window.start <= size
            assert not fixed or window.stop - window.start == min(size, length)
            assert window.start == 0 or window.first - window.start >= reach[0]
            assert window.stop == length or window.stop - window.last >= reach[1]
            assert window.start + window.kept.start == window.first
        assert all(a.start < b.start for a, b in itertools.pairwise(windows))


def test_windows_of_fixed_size_share_the_end_of_the_signal() -> None:
    assert list(cut(17, 10, (2, 2), fixed=True)) == [Window(0, 10, 0, 8), Window(6, 16, 8, 14), Window(7, 17, 14, 17)]


def test_no_position_is_computed_without_need() -> None:
    assert list(cut(17, 10, (2, 2))) == [Window(0, 9, 0, 7), Window(5, 14, 7, 12), Window(8, 17, 12, 17)]
    for length in range(21, 400):
        windows = list(cut(length, 20, (3, 3)))
        computed = sum(window.stop - window.start for window in windows)
        assert computed < length + 6 * (len(windows) - 1) + len(windows)
        assert len(windows) == len(list(cut(length, 20, (3, 3), fixed=True)))


@pytest.mark.parametrize(
    ("length", "size", "reach"), [(0, 10, (1, 1)), (20, 4, (2, 2)), (20, 3, (2, 2)), (20, 4, (4, 0))]
)
def test_impossible_windows_are_refused(length: int, size: int, reach: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="expected"):
        cut(length, size, reach)


def test_windows_take_no_memory_before_their_turn() -> None:
    windows = iter(cut(1 << 50, 500, (13, 13)))
    assert next(windows) == Window(0, 500, 0, 487)


def test_an_unbounded_reach_is_one_window() -> None:
    assert list(cut(100, 10, None)) == [Window(0, 100, 0, 100)]


@pytest.mark.parametrize(("length", "size", "reach"), [(10, 4, (1, 2)), (12, 4, (0, 0)), (3, 4, (5, 5))])
def test_bands_keep_parts_of_one_size(length: int, size: int, reach: tuple[int, int]) -> None:
    found = list(bands(length, size, reach))
    assert [(window.first, window.last) for window in found] == [
        (first, min(first + size, length)) for first in range(0, length, size)
    ]
    assert all(window.start == max(0, window.first - reach[0]) for window in found)
    assert all(window.stop == min(length, window.last + reach[1]) for window in found)


def test_tiles_are_products_made_one_at_a_time() -> None:
    axes = [partial(cut, 1 << 40, 8, (1, 1)), partial(cut, 20, 8, (1, 1)), partial(cut, 5, 8, (1, 1))]
    found = list(itertools.islice(tiles(*axes), 4))
    assert [tile[1] for tile in found[:3]] == list(cut(20, 8, (1, 1)))
    assert found[3][0].start == 6
    assert list(tiles()) == [()]


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("shape", [(50,), (13, 20), (5, 12, 9)])
def test_tiles_through_a_network_give_what_the_whole_gives(shape: tuple[int, ...], batch: int) -> None:
    """A sum over a box, asymmetric along each axis, that repeats each position in strides of 2, 3, 1."""
    axes, before, after = len(shape), (2, 1, 0)[: len(shape)], (0, 2, 1)[: len(shape)]
    stride = (2, 3, 1)[:axes]

    def network(z: Tensor) -> Tensor:
        total = z
        for axis, (b, a) in enumerate(zip(before, after, strict=True)):
            padded = torch.nn.functional.pad(total.movedim(2 + axis, -1), (b, a))
            total = padded.unfold(-1, 1 + b + a, 1).sum(-1).movedim(-1, 2 + axis)
        for axis, step in enumerate(stride):
            total = total.repeat_interleave(step, 2 + axis)
        return total

    values = torch.arange(2.0 * torch.Size(shape).numel()).view(2, 1, *shape)
    whole, found = network(values), torch.full_like(network(values), torch.nan)
    where = tiles(*(partial(cut, size, 6, (b, a), fixed=True) for size, b, a in zip(shape, before, after, strict=True)))
    for place, x in decode_tiles(values, where, stride, network, batch):
        found[(..., *(window.target for window in place))] = x
    assert torch.equal(found, whole)


def test_lengths_are_rounded_up_to_few() -> None:
    rounded = [rounded_up(length) for length in range(1, 5000)]
    assert all(length <= longer <= 1.125 * length for length, longer in enumerate(rounded, 1))
    assert len(set(rounded)) < 90
