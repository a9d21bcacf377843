import itertools

import pytest

from narrows.errors import InputError
from narrows.tokenizers.windows import Window, cut


@pytest.mark.parametrize(("size", "reach"), [(10, 0), (10, 2), (11, 5), (64, 7)])
def test_every_position_is_kept_once_with_its_reach_inside(size: int, reach: int) -> None:
    for length in [*range(1, 3 * size), 1000]:
        windows = cut(length, size, reach)
        kept = [position for window in windows for position in range(window.first, window.last)]
        assert kept == list(range(length))
        for window in windows:
            assert window.stop - window.start == min(size, length)
            assert window.start == 0 or window.first - window.start >= reach
            assert window.stop == length or window.stop - window.last >= reach
            assert window.start + window.kept.start == window.first
        assert all(a.start <= b.start for a, b in itertools.pairwise(windows))


def test_the_last_window_is_aligned_to_the_end() -> None:
    assert cut(17, 10, 2) == [Window(0, 10, 0, 8), Window(6, 16, 8, 14), Window(7, 17, 14, 17)]


@pytest.mark.parametrize(("length", "size", "reach"), [(0, 10, 1), (20, 4, 2), (20, 3, 2)])
def test_impossible_windows_are_refused(length: int, size: int, reach: int) -> None:
    with pytest.raises(InputError, match="wanted"):
        cut(length, size, reach)
