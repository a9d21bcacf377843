from fractions import Fraction

import pytest

from narrows.media.video.timing import constant_rate

NTSC = Fraction(30_000, 1_001)
MS = Fraction(1, 1_000)


def rounded(rate, count):
    return [round(1_000 * k / rate) for k in range(count)]


@pytest.mark.parametrize("rate", [NTSC, Fraction(24_000, 1_001), Fraction(60), Fraction(1, 7)])
def test_rounded_times_of_a_stated_rate(rate):
    assert constant_rate(rounded(rate, 1_000), MS, [None, rate]) == rate


def test_the_stated_rate_may_be_wrong():
    assert constant_rate(list(range(0, 4_000, 40)), MS, [Fraction(50), NTSC]) == 25
    assert constant_rate(rounded(30, 400), MS, [Fraction(50)]) == pytest.approx(30, abs=0.01)


def test_a_stated_rate_beside_the_exact_one_is_kept():
    """33 ms for all frames of a short clip: the header says which rate it is."""
    assert constant_rate([0, 33], MS, [Fraction(30)]) == 30
    assert constant_rate([0, 33], MS, [Fraction(32)]) == constant_rate([0, 33, 66], MS, [NTSC]) == 1 / (33 * MS)
    assert constant_rate([0, 33, 67], MS, [Fraction(30)]) == 30
    assert constant_rate([0], MS, [None, Fraction(30)]) == 30
    assert constant_rate([0], MS, [None]) is None


@pytest.mark.parametrize("moved", [-2, 2])
def test_a_frame_beside_its_time(moved):
    stamps = rounded(NTSC, 100)
    stamps[50] += moved
    assert constant_rate(stamps, MS, [NTSC]) is None


def test_exact_units():
    assert constant_rate([1_001 * k for k in range(9)], Fraction(1, 30_000), []) == NTSC
    assert constant_rate([1_001 * k + (k > 5) for k in range(9)], Fraction(1, 300_000), [NTSC * 10]) == NTSC * 10
