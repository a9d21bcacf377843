"""Bootstrap confidence intervals over items."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from narrows.errors import InputError

RESAMPLES, SEED = 10_000, 0
QUANTILES = (0.025, 0.975)  # ends of the 95 % interval
_BLOCK = 1_000_000  # indices drawn at once; bounds the memory


@dataclass(frozen=True)
class Interval:
    """The mean of `count` values and the ends of its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float
    count: int


def bootstrap_interval(values: Sequence[float] | NDArray[np.float64]) -> Interval | None:
    """Mean and 95 % confidence interval of one value per item.

    Percentile bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3): 10,000 resamples
    of the items with replacement, seed 0.

    Args:
        values: Finite values (N,).

    Returns:
        The interval; of zero width for a single value, None without values.

    Raises:
        InputError: A value is not finite.
    """
    array = np.asarray(values, np.float64)
    if not np.isfinite(array).all():
        raise InputError("expected finite values, got NaN or infinity; leave out items without a value")
    if len(array) == 0:
        return None
    means = np.concatenate([array[indices].mean(1) for indices in bootstrap_indices(len(array), RESAMPLES)])
    low, high = np.quantile(means, QUANTILES)
    return Interval(float(array.mean()), float(low), float(high), len(array))


def paired_difference(
    before: Sequence[float] | NDArray[np.float64], after: Sequence[float] | NDArray[np.float64]
) -> Interval | None:
    """Mean and interval of after - before over the same items (paired bootstrap).

    Much narrower than two separate intervals, because both values of an item share its difficulty.

    Args:
        before: Finite values (N,).
        after: Finite values (N,) of the same items in the same order.

    Returns:
        The interval, as `bootstrap_interval`.

    Raises:
        InputError: The numbers of values differ, or a value is not finite.
    """
    if len(before) != len(after):
        raise InputError(f"expected one value of each for every item, got {len(before)} and {len(after)} values")
    return bootstrap_interval(np.asarray(after, np.float64) - np.asarray(before, np.float64))


def bootstrap_indices(items: int, resamples: int) -> Iterator[NDArray[np.int64]]:
    """Item indices drawn with replacement, seed 0, as blocks (n, items) with `resamples` rows in total."""
    generator = np.random.default_rng(SEED)
    rows = max(1, _BLOCK // items)
    for first in range(0, resamples, rows):
        yield generator.integers(items, size=(min(rows, resamples - first), items))
