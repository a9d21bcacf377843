import numpy as np
import pytest

from narrows.errors import InputError
from narrows.evaluation import statistics
from narrows.evaluation.statistics import Interval, bootstrap_interval, paired_difference


def test_interval_matches_a_plain_bootstrap():
    values = np.random.default_rng(1).normal(3, 2, 24)
    chosen = np.random.default_rng(0).integers(24, size=(10_000, 24))
    low, high = np.quantile(values[chosen].mean(1), (0.025, 0.975))
    found = bootstrap_interval(values.tolist())
    assert (found.mean, found.count) == (pytest.approx(values.mean()), 24)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_many_values_give_the_normal_interval():
    values = np.random.default_rng(1).normal(0, 1, 900)
    found = bootstrap_interval(values)
    assert found.high - found.low == pytest.approx(2 * 1.96 / 30, rel=0.05)


def test_block_size_does_not_change_the_interval(monkeypatch):
    values = np.arange(7.0) ** 2
    whole = bootstrap_interval(values)
    monkeypatch.setattr(statistics, "_BLOCK", 100)
    assert bootstrap_interval(values) == whole


def test_single_value_and_no_value():
    assert bootstrap_interval([2.5]) == Interval(2.5, 2.5, 2.5, 1)
    assert bootstrap_interval([]) is None
    assert paired_difference([], []) is None


def test_constant_differences_have_a_narrow_interval():
    before = np.random.default_rng(2).normal(20, 10, 30)
    found = paired_difference(before, before + 1)
    assert (found.low, found.mean, found.high) == pytest.approx((1, 1, 1))
    assert bootstrap_interval(before).high - bootstrap_interval(before).low > 5


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_non_finite_values_are_rejected(value):
    with pytest.raises(InputError, match="leave out"):
        bootstrap_interval([1.0, value])


def test_different_numbers_of_values_are_rejected():
    with pytest.raises(InputError, match="2 and 1 values"):
        paired_difference([1, 2], [1])
