import itertools

import pytest

from narrows.errors import InputError
from narrows.tokenizers.windows import Window, cut


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize(("size", "reach"), [(10, 0), (10, 2), (11, 5), (64, 7)])
def test_every_position_is_kept_once_with_its_reach_inside(size: int, reach: int, fixed: bool) -> None:
    for length in [*range(1, 3 * size), 1000]:
        windows = list(cut(length, size, reach, fixed))
        kept = [position for window in windows for position in range(window.first, window.last)]
        assert kept == list(range(length))
        assert len({window.stop - window.start for window in windows}) == 1
        for window in windows:
            assert 0 <= window.start < window.stop <= length
            assert window.stop - window.start <= size
            assert not fixed or window.stop - window.start == min(size, length)
            assert window.start == 0 or window.first - window.start >= reach
            assert window.stop == length or window.stop - window.last >= reach
            assert window.start + window.kept.start == window.first
        assert all(a.start < b.start for a, b in itertools.pairwise(windows))


def test_windows_of_fixed_size_share_the_end_of_the_signal() -> None:
    assert list(cut(17, 10, 2, fixed=True)) == [Window(0, 10, 0, 8), Window(6, 16, 8, 14), Window(7, 17, 14, 17)]


def test_no_position_is_computed_without_need() -> None:
    assert list(cut(17, 10, 2)) == [Window(0, 9, 0, 7), Window(5, 14, 7, 12), Window(8, 17, 12, 17)]
    for length in range(21, 400):
        windows = list(cut(length, 20, 3))
        computed = sum(window.stop - window.start for window in windows)
        assert computed < length + 6 * (len(windows) - 1) + len(windows)
        assert len(windows) == len(list(cut(length, 20, 3, fixed=True)))


@pytest.mark.parametrize(("length", "size", "reach"), [(0, 10, 1), (20, 4, 2), (20, 3, 2)])
def test_impossible_windows_are_refused(length: int, size: int, reach: int) -> None:
    with pytest.raises(InputError, match="wanted"):
        cut(length, size, reach)


def test_windows_take_no_memory_before_their_turn() -> None:
    windows = iter(cut(1 << 50, 500, 13))
    assert next(windows) == Window(0, 500, 0, 487)
