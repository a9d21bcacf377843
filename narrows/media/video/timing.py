"""The time stamps of a clip: their rate if it is constant, up to the rounding of the container."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise
from statistics import median


def constant_rate(stamps: Sequence[int], base: Fraction, candidates: Iterable[Fraction | None]) -> Fraction | None:
    """The first rate that explains all time stamps, in frames per second; None if the rate is not constant.

    Matroska rounds time stamps to milliseconds, so frame k may lie one unit beside k / rate.

    Args:
        stamps: increasing time stamps.
        base: seconds per unit.
        candidates: rates that the header states; None for those that it does not.
    """
    rates = [rate for rate in candidates if rate]
    if len(stamps) > 1:
        steps = [later - earlier for earlier, later in pairwise(stamps)]
        if min(steps) == max(steps):  # exact, whatever the header says
            exact = 1 / (steps[0] * base)
            near = (rate for rate in rates if abs(1 / (rate * base) - steps[0]) * len(steps) < Fraction(1, 2))
            return next(near, exact)
        rates.append(1 / (Fraction(median(steps)) * base))
        rates.append((len(stamps) - 1) / ((stamps[-1] - stamps[0]) * base))
    for rate in rates:
        step = 1 / (rate * base)
        if all(abs(stamp - stamps[0] - place * step) <= 1 for place, stamp in enumerate(stamps)):
            return rate
    return None
