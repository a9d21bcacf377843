"""Rate-quality curves and the Bjøntegaard deltas between them.

quality │        ╭── test                 bd_rate: mean difference in log rate over the qualities
        │     ╭──┼─── anchor              that both curves reach; bd_quality: mean difference in
        │   ╭─╯◄─┘                        quality over the rates that both curves cover
        └──────────── log rate
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from narrows.errors import InputError
from narrows.evaluation.piecewise import SLOPES, Floats, Method, integral
from narrows.evaluation.statistics import QUANTILES, Interval, bootstrap_indices

MIN_POINTS = 4
MIN_OVERLAP = 0.75
RESAMPLES = 1_000
SATURATION = 0.1  # a piece with less than this fraction of the curve's mean slope counts as saturated


class Curve:
    """The rate-quality curve of one codec.

    Points that another point of the curve dominates (at most its rate, at least its quality) are not used, because the
    curve must be monotone.

    Args:
        rates: Rates (P,) above 0 in any unit, or rates (I, P) of I items. The curve is then made of the means over
            items, and deltas get a bootstrap interval over items. Points may be in any order.
        qualities: Finite qualities of the same shape; higher is better: negate a distance; give MS-SSIM as
            -10 log10(1 - x) dB.

    Raises:
        InputError: The shapes differ, a rate is not above 0, or a quality is not finite.
    """

    def __init__(self, rates: ArrayLike, qualities: ArrayLike) -> None:
        self.rates, self.qualities = (np.atleast_2d(np.asarray(x, np.float64)) for x in (rates, qualities))
        if self.rates.shape != self.qualities.shape or self.rates.ndim != 2 or 0 in self.rates.shape:
            shapes = f"{np.shape(rates)} and {np.shape(qualities)}"
            raise InputError(f"expected one rate and one quality for every point, got arrays of shapes {shapes}")
        if not (np.isfinite(self.rates).all() and np.isfinite(self.qualities).all() and (self.rates > 0).all()):
            raise InputError("expected rates above 0 and finite qualities; leave out the other points")

    @property
    def items(self) -> int:
        """Number of items that the points are means of; 1 if only the means are known."""
        return len(self.rates)

    @property
    def undominated(self) -> NDArray[np.bool_]:
        """Mask (P,) of the points that no other point of the curve dominates; only these are used.

        Of several equal points the first counts.
        """
        rates, qualities = self.rates.mean(0), self.qualities.mean(0)
        as_cheap, as_good = rates[:, None] <= rates, qualities[:, None] >= qualities
        better = (rates[:, None] < rates) | (qualities[:, None] > qualities)
        better |= np.triu(np.ones((len(rates), len(rates)), bool), 1)  # the first of equal points
        return np.invert((as_cheap & as_good & better).any(0))


@dataclass(frozen=True)
class Delta:
    """A Bjøntegaard delta of a test curve against an anchor curve.

    Args:
        change: Percent of the rate (bd_rate) or units of quality (bd_quality).
        low: Lower end of the common range, over which the mean is taken: a quality (bd_rate) or a rate (bd_quality).
        high: Upper end of the common range.
        overlap: Common range as a fraction of the range that the two curves cover together, 0 to 1.
        saturated: Whether one of the curves is nearly flat somewhere in the common range: small differences in quality
            then correspond to large differences in rate.
        interval: 95 % interval of the change over items; None without items.
    """

    change: float
    low: float
    high: float
    overlap: float
    saturated: bool
    interval: Interval | None

    @property
    def unreliable(self) -> bool:
        """Whether the curves overlap by less than 75 % or are saturated: one number then says little."""
        return self.overlap < MIN_OVERLAP or self.saturated


def bd_rate(anchor: Curve, test: Curve, method: Method = "pchip") -> Delta | None:
    """BD-rate: percent of the rate that `test` needs more than `anchor` at equal quality; negative means less.

    Mean difference of the log rate over the common qualities (Bjøntegaard, VCEG-M33). The interval is a bootstrap of
    1,000 resamples over items, the same ones for both curves if both have items.

    Args:
        anchor: Curve to compare with.
        test: Curve under test.
        method: Interpolation: "pchip" (monotone cubics, JVET-H0030) or "akima".

    Returns:
        The delta; None for curves without a common quality.

    Raises:
        InputError: A curve has fewer than four undominated points, the numbers of items differ, or the method is
            unknown.
    """
    return _delta(anchor, test, method, along_rate=True)


def bd_quality(anchor: Curve, test: Curve, method: Method = "pchip") -> Delta | None:
    """BD-quality: by how much the quality of `test` is higher than `anchor` at equal rate. Otherwise as `bd_rate`."""
    return _delta(anchor, test, method, along_rate=False)


def pareto(rate: ArrayLike, quality: ArrayLike, speed: ArrayLike) -> NDArray[np.bool_]:
    """Pareto front of rate (lower is better), quality and speed (higher is better).

    Args:
        rate: Rates (P,).
        quality: Qualities (P,).
        speed: Speeds (P,).

    Returns:
        Mask (P,) of the points on the front: no other point is at least as good in all three and better in one.

    Raises:
        InputError: A value is not finite.
    """
    criteria = np.stack([-np.asarray(rate, np.float64), np.asarray(quality), np.asarray(speed)], axis=1)  # (P, 3)
    if not np.isfinite(criteria).all():
        raise InputError("expected finite rates, qualities and speeds; leave out the other points")
    as_good = (criteria[:, None] >= criteria).all(2)
    better = (criteria[:, None] > criteria).any(2)
    return np.invert((as_good & better).any(0))


class _CurveBatch(NamedTuple):
    """N curves: points (N, P), sorted by x; `used` (N, P) marks those in use, among them the first of each curve."""

    x: Floats
    y: Floats
    used: NDArray[np.bool_]

    @property
    def low(self) -> Floats:
        return self.x[:, 0]

    @property
    def high(self) -> Floats:
        return np.where(self.used, self.x, -np.inf).max(1)

    def integral(self, low: Floats, high: Floats, method: Method) -> Floats:
        """Integrals (N,); NaN for a curve of one point."""
        result = np.full(len(self.x), np.nan)
        counts = self.used.sum(1)
        for count in np.unique(counts[counts > 1]):
            rows = counts == count
            x, y = (values[rows][self.used[rows]].reshape(-1, count) for values in (self.x, self.y))
            result[rows] = integral(x, y, low[rows], high[rows], method)
        return result


def _batch(rates: Floats, qualities: Floats, along_rate: bool) -> _CurveBatch:
    """Points (N, P) of N curves, sorted by rate; points without a gain in quality are not used."""
    order = np.lexsort((-qualities, rates), axis=-1)
    log_rates, qualities = (np.take_along_axis(values, order, 1) for values in (np.log10(rates), qualities))
    best = np.maximum.accumulate(qualities, axis=1)
    used = np.column_stack((np.full(len(best), True), qualities[:, 1:] > best[:, :-1]))
    return _CurveBatch(qualities, log_rates, used) if along_rate else _CurveBatch(log_rates, qualities, used)


def _delta(anchor: Curve, test: Curve, method: Method, along_rate: bool) -> Delta | None:
    if method not in SLOPES:
        raise InputError(f"expected one of the methods {', '.join(SLOPES)}, got {method!r}")
    if anchor.items > 1 < test.items != anchor.items:
        raise InputError(f"expected two curves of the same items, got {anchor.items} and {test.items} items")
    for curve in (anchor, test):
        count = int(curve.undominated.sum())
        if count < MIN_POINTS:
            raise InputError(f"expected at least {MIN_POINTS} undominated points, got {count}; measure more settings")
    means = [_batch(curve.rates.mean(0)[None], curve.qualities.mean(0)[None], along_rate) for curve in (anchor, test)]
    (a, b), lows, highs = means, [float(curve.low[0]) for curve in means], [float(curve.high[0]) for curve in means]
    low, high = max(lows), min(highs)
    if low >= high:
        return None
    overlap = (high - low) / (max(highs) - min(lows))
    saturated = any(_saturated(curve, low, high, along_rate) for curve in means)
    change = float(_change(a, b, method, along_rate)[0])
    interval = _interval(change, anchor, test, method, along_rate)
    if not along_rate:
        low, high = 10**low, 10**high
    return Delta(change, low, high, overlap, saturated, interval)


def _change(anchor: _CurveBatch, test: _CurveBatch, method: Method, along_rate: bool) -> Floats:
    """Delta (N,) of N pairs of curves; NaN for pairs without overlap."""
    low, high = np.maximum(anchor.low, test.low), np.minimum(anchor.high, test.high)
    width = np.where(high > low, high - low, np.nan)
    gap = (test.integral(low, high, method) - anchor.integral(low, high, method)) / width
    return 100 * (10**gap - 1) if along_rate else gap


def _interval(change: float, anchor: Curve, test: Curve, method: Method, along_rate: bool) -> Interval | None:
    """Bootstrap interval over items; None if more than 5 % of the resampled curves have no overlap."""
    items = max(anchor.items, test.items)
    if items == 1:
        return None
    a, b = (
        _batch(_weights(curve.items) @ curve.rates, _weights(curve.items) @ curve.qualities, along_rate)
        for curve in (anchor, test)
    )
    changes = _change(a, b, method, along_rate)
    known = changes[~np.isnan(changes)]
    if len(known) < 0.95 * len(changes):
        return None
    low, high = np.quantile(known, QUANTILES)
    return Interval(change, float(low), float(high), items)


@lru_cache(maxsize=8)
def _weights(items: int) -> Floats:
    """Weight of each item in each resample (RESAMPLES, items): number of times it was drawn / number of items."""
    drawn = np.concatenate(list(bootstrap_indices(items, RESAMPLES)))
    return np.stack([np.bincount(row, minlength=items) for row in drawn]) / items


def _saturated(curve: _CurveBatch, low: float, high: float, along_rate: bool) -> bool:
    """Whether a piece of the curve between low and high is much flatter than the whole curve."""
    x, y = curve.x[curve.used], curve.y[curve.used]
    steps, rises = (np.diff(y), np.diff(x)) if along_rate else (np.diff(x), np.diff(y))
    flat = rises / steps < SATURATION * rises.sum() / steps.sum()
    return bool((flat & (x[1:] > low) & (x[:-1] < high)).any())
