import numpy as np
import pytest

from narrows.errors import InputError
from narrows.evaluation import statistics
from narrows.evaluation.statistics import Interval, difference, interval


def test_the_interval_is_that_of_the_plain_bootstrap():
    values = np.random.default_rng(1).normal(3, 2, 24)
    chosen = np.random.default_rng(0).integers(24, size=(10_000, 24))
    low, high = np.quantile(values[chosen].mean(1), (0.025, 0.975))
    found = interval(values.tolist())
    assert (found.mean, found.count) == (pytest.approx(values.mean()), 24)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_for_many_values_it_is_the_normal_interval():
    values = np.random.default_rng(1).normal(0, 1, 900)
    found = interval(values)
    assert found.high - found.low == pytest.approx(2 * 1.96 / 30, rel=0.05)


def test_drawing_in_blocks_changes_nothing(monkeypatch):
    values = np.arange(7.0) ** 2
    whole = interval(values)
    monkeypatch.setattr(statistics, "_DRAWN_AT_ONCE", 100)
    assert interval(values) == whole


def test_one_value_and_none():
    assert interval([2.5]) == Interval(2.5, 2.5, 2.5, 1)
    assert interval([]) is None
    assert difference([], []) is None


def test_pairs_that_differ_alike_have_a_narrow_interval():
    before = np.random.default_rng(2).normal(20, 10, 30)
    found = difference(before, before + 1)
    assert (found.low, found.mean, found.high) == pytest.approx((1, 1, 1))
    assert interval(before).high - interval(before).low > 5


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_number_is_refused(value):
    with pytest.raises(InputError, match="leave out"):
        interval([1.0, value])


def test_pairs_are_wanted():
    with pytest.raises(InputError, match="2 and 1 values"):
        difference([1, 2], [1])
