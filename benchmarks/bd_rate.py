"""The Bjøntegaard delta rate: how much more of the rate one curve takes than another for the same quality."""

from collections.abc import Sequence

import numpy as np
from scipy.interpolate import PchipInterpolator

Curve = Sequence[tuple[float, float]]  # rate in any unit, quality in dB


def bd_rate(anchor: Curve, test: Curve) -> tuple[float, float, float]:
    """Percent that `test` takes more than `anchor` (less where negative), and from which quality to which that holds.

    The mean over the qualities that both reach of the logarithm of the rate, each curve interpolated by monotone cubic
    polynomials through its points (VCEG-M33, with the interpolation of JVET-H0030). Raises ValueError for curves of
    fewer than four points or without common qualities, and for points of which two have one quality.
    """
    curves = []
    for points in (anchor, test):
        quality, rate = np.array(sorted((quality, rate) for rate, quality in points)).T
        if len(points) < 4 or (np.diff(quality) <= 0).any() or not np.isfinite(quality).all():
            raise ValueError("a curve of four points at least is wanted, each of another finite quality")
        curves.append((quality, PchipInterpolator(quality, np.log(rate))))
    low, high = max(quality[0] for quality, _ in curves), min(quality[-1] for quality, _ in curves)
    if low >= high:
        raise ValueError("the two curves have no quality in common")
    means = [log_rate.integrate(low, high) / (high - low) for _, log_rate in curves]
    return 100 * float(np.exp(means[1] - means[0]) - 1), float(low), float(high)
