"""Rate-quality curves, and how far one lies from another: the Bjøntegaard deltas.

quality │        ╭── test                 bd_rate: the mean distance along the rate, where both
        │     ╭──┼─── anchor              reach a quality; bd_quality: along the quality, where
        │   ╭─╯◄─┘                        both take a rate
        └──────────── log rate
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from narrows.errors import InputError
from narrows.evaluation.piecewise import SLOPES, Floats, Method, integral
from narrows.evaluation.statistics import ENDS, Interval, draws

LEAST_POINTS = 4
LEAST_OVERLAP = 0.75
RESAMPLES = 1_000
FLAT = 0.1  # of the mean rise of a curve: what rises less has all but ended


class Curve:
    """The operating points of one codec.

    rates: in any unit, above 0; qualities: finite, higher is better (give the negative of a distance; MS-SSIM as
    -10 log10(1 - x) dB). Each (P,), or (I, P) of I items: the curve is then that of the means over items, and the items
    tell how sure a delta is.

    Points come in any order. One that takes more bits than another of the curve and is no better is dropped: nobody
    would choose it, and a curve that bends back has no rate for a quality. `kept` (P,) tells which stayed.

    Raises InputError for other shapes and numbers.
    """

    def __init__(self, rates: ArrayLike, qualities: ArrayLike) -> None:
        self.rates, self.qualities = (np.atleast_2d(np.asarray(given, np.float64)) for given in (rates, qualities))
        if self.rates.shape != self.qualities.shape or self.rates.ndim != 2 or 0 in self.rates.shape:
            shapes = f"{np.shape(rates)} and {np.shape(qualities)}"
            raise InputError(f"rates and qualities of shapes {shapes} given; give one of each for every point")
        if not (np.isfinite(self.rates).all() and np.isfinite(self.qualities).all() and (self.rates > 0).all()):
            raise InputError("a curve wants rates above 0 and finite qualities; leave out the points without")

    @property
    def items(self) -> int:
        """How many items the points are means of; 1 where only the means are known."""
        return len(self.rates)

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Which of the points (P,) no other one of the curve makes useless."""
        rates, qualities = self.rates.mean(0), self.qualities.mean(0)
        as_cheap, as_good = rates[:, None] <= rates, qualities[:, None] >= qualities
        other = (rates[:, None] < rates) | (qualities[:, None] > qualities)
        return np.invert((as_cheap & as_good & other).any(0))


@dataclass(frozen=True)
class Delta:
    """How far a test curve lies from its anchor.

    change: percent of the rate (bd_rate) or units of quality (bd_quality). low, high: the qualities (bd_rate) or the
    rates (bd_quality) between which both curves run, where the mean is taken. overlap: that range's share of what the
    two cover together, from 0 to 1. saturated: one of the curves all but stops to rise in it, and small differences of
    quality count for much of the rate. interval: of the change over items; None where the curves have none.
    """

    change: float
    low: float
    high: float
    overlap: float
    saturated: bool
    interval: Interval | None

    @property
    def doubtful(self) -> bool:
        """The curves have too little in common, or too flat a part, to be told apart by one number."""
        return self.overlap < LEAST_OVERLAP or self.saturated


def bd_rate(anchor: Curve, test: Curve, method: Method = "pchip") -> Delta | None:
    """Percent of the rate that `test` takes more than `anchor` at equal quality, less where negative.

    The mean over the common qualities of the logarithm of the rate (Bjøntegaard, VCEG-M33), interpolated by monotone
    cubics ("pchip", JVET-H0030) or after Akima ("akima"). None for curves without common qualities. The interval is a
    bootstrap of 1,000 resamples over items, the same ones for both curves where both have items.

    Raises InputError for a curve of which fewer than four points are kept, for curves of different numbers of items,
    and for an unknown method.
    """
    return _delta(anchor, test, method, along_rate=True)


def bd_quality(anchor: Curve, test: Curve, method: Method = "pchip") -> Delta | None:
    """By how much the quality of `test` is higher than that of `anchor` at an equal rate; otherwise as `bd_rate`."""
    return _delta(anchor, test, method, along_rate=False)


def pareto(rate: ArrayLike, quality: ArrayLike, speed: ArrayLike) -> NDArray[np.bool_]:
    """Which points (P,) are on the front: no other one is as good in all three and better in one.

    Lower rates, higher qualities and higher speeds are better. Raises InputError for values that are not finite.
    """
    goods = np.stack([-np.asarray(rate, np.float64), np.asarray(quality), np.asarray(speed)], axis=1)  # (P, 3)
    if not np.isfinite(goods).all():
        raise InputError("rates, qualities and speeds must be finite; leave out the points without")
    as_good = (goods[:, None] >= goods).all(2)
    better = (goods[:, None] > goods).any(2)
    return np.invert((as_good & better).any(0))


class _Stack(NamedTuple):
    """N curves: points (N, P), rising along x; `kept` (N, P) marks those that count. The first of each is kept."""

    x: Floats
    y: Floats
    kept: NDArray[np.bool_]

    @property
    def low(self) -> Floats:
        return self.x[:, 0]

    @property
    def high(self) -> Floats:
        return np.where(self.kept, self.x, -np.inf).max(1)

    def integral(self, low: Floats, high: Floats, method: Method) -> Floats:
        """(N,); NaN for a curve of one point."""
        result = np.full(len(self.x), np.nan)
        counts = self.kept.sum(1)
        for count in np.unique(counts[counts > 1]):
            rows = counts == count
            x, y = (of[rows][self.kept[rows]].reshape(-1, count) for of in (self.x, self.y))
            result[rows] = integral(x, y, low[rows], high[rows], method)
        return result


def _stack(rates: Floats, qualities: Floats, along_rate: bool) -> _Stack:
    """Points (N, P) of N curves sorted, and without those that a cheaper one equals."""
    order = np.lexsort((-qualities, rates), axis=-1)
    logs, qualities = (np.take_along_axis(of, order, 1) for of in (np.log10(rates), qualities))
    best = np.maximum.accumulate(qualities, axis=1)
    kept = np.column_stack((np.full(len(best), True), qualities[:, 1:] > best[:, :-1]))
    return _Stack(qualities, logs, kept) if along_rate else _Stack(logs, qualities, kept)


def _delta(anchor: Curve, test: Curve, method: Method, along_rate: bool) -> Delta | None:
    if method not in SLOPES:
        raise InputError(f"method {method!r} was given; choose one of {', '.join(SLOPES)}")
    if anchor.items > 1 < test.items != anchor.items:
        raise InputError(f"curves of {anchor.items} and {test.items} items were given; give both of the same items")
    for curve in (anchor, test):
        count = int(curve.kept.sum())
        if count < LEAST_POINTS:
            raise InputError(f"a curve with {count} useful points was given; {LEAST_POINTS} are wanted: measure more")
    means = [_stack(curve.rates.mean(0)[None], curve.qualities.mean(0)[None], along_rate) for curve in (anchor, test)]
    (a, b), lows, highs = means, [float(of.low[0]) for of in means], [float(of.high[0]) for of in means]
    low, high = max(lows), min(highs)
    if low >= high:
        return None
    overlap = (high - low) / (max(highs) - min(lows))
    saturated = any(_flat(of, low, high, along_rate) for of in means)
    change = float(_change(a, b, method, along_rate)[0])
    interval = _interval(change, anchor, test, method, along_rate)
    if not along_rate:
        low, high = 10**low, 10**high
    return Delta(change, low, high, overlap, saturated, interval)


def _change(anchor: _Stack, test: _Stack, method: Method, along_rate: bool) -> Floats:
    """Change (N,) between N pairs of curves; NaN for those without overlap."""
    low, high = np.maximum(anchor.low, test.low), np.minimum(anchor.high, test.high)
    width = np.where(high > low, high - low, np.nan)
    gap = (test.integral(low, high, method) - anchor.integral(low, high, method)) / width
    return 100 * (10**gap - 1) if along_rate else gap


def _interval(change: float, anchor: Curve, test: Curve, method: Method, along_rate: bool) -> Interval | None:
    """Ends of the changes between curves of items drawn again; None where a twentieth of these have no overlap."""
    items = max(anchor.items, test.items)
    if items == 1:
        return None
    a, b = (
        _stack(_weights(curve.items) @ curve.rates, _weights(curve.items) @ curve.qualities, along_rate)
        for curve in (anchor, test)
    )
    changes = _change(a, b, method, along_rate)
    known = changes[~np.isnan(changes)]
    if len(known) < 0.95 * len(changes):
        return None
    low, high = np.quantile(known, ENDS)
    return Interval(change, float(low), float(high), items)


@lru_cache(maxsize=8)
def _weights(items: int) -> Floats:
    """How often each item is drawn in each resample, over their number: (RESAMPLES, items)."""
    drawn = np.concatenate(list(draws(items, RESAMPLES)))
    return np.stack([np.bincount(row, minlength=items) for row in drawn]) / items


def _flat(curve: _Stack, low: float, high: float, along_rate: bool) -> bool:
    """Whether a piece of one curve between low and high rises much less than the whole."""
    x, y = curve.x[curve.kept], curve.y[curve.kept]
    steps, rises = (np.diff(y), np.diff(x)) if along_rate else (np.diff(x), np.diff(y))
    flat = rises / steps < FLAT * rises.sum() / steps.sum()
    return bool((flat & (x[1:] > low) & (x[:-1] < high)).any())
