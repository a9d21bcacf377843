"""How far a mean would move with other items of the same kind: bootstrap intervals over items."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from narrows.errors import InputError

RESAMPLES, SEED = 10_000, 0
ENDS = (0.025, 0.975)  # quantiles: 95 % of the resamples lie between
_DRAWN_AT_ONCE = 1_000_000  # indices: memory does not grow with the items


@dataclass(frozen=True)
class Interval:
    """A mean of `count` values, and the ends of its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float
    count: int


def interval(values: Sequence[float] | NDArray[np.float64]) -> Interval | None:
    """The mean of one value an item, with its 95 % interval; None without values.

    The items are drawn with replacement 10,000 times, seed 0; low and high are quantiles of the means (percentile
    bootstrap; Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3). Of one value all three are
    equal. Raises InputError for values that are not finite.
    """
    found = np.asarray(values, np.float64)
    if not np.isfinite(found).all():
        raise InputError("values with NaN or infinity were given, finite ones are wanted; leave out what has no number")
    if len(found) == 0:
        return None
    means = np.concatenate([found[drawn].mean(1) for drawn in draws(len(found), RESAMPLES)])
    low, high = np.quantile(means, ENDS)
    return Interval(float(found.mean()), float(low), float(high), len(found))


def difference(
    before: Sequence[float] | NDArray[np.float64], after: Sequence[float] | NDArray[np.float64]
) -> Interval | None:
    """The mean of after - before with its interval, both of the same items in one order (paired bootstrap).

    Much narrower than two intervals side by side, because what is hard about an item is hard in both. Raises InputError
    for different numbers of values and for values that are not finite.
    """
    if len(before) != len(after):
        raise InputError(f"{len(before)} and {len(after)} values were given; give one of each for every item")
    return interval(np.asarray(after, np.float64) - np.asarray(before, np.float64))


def draws(items: int, resamples: int) -> Iterator[NDArray[np.int64]]:
    """Indices (n, items) of items drawn with replacement, in blocks that are `resamples` rows together; seed 0."""
    generator = np.random.default_rng(SEED)
    rows = max(1, _DRAWN_AT_ONCE // items)
    for first in range(0, resamples, rows):
        yield generator.integers(items, size=(min(rows, resamples - first), items))
