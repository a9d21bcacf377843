"""Piecewise cubic interpolation of many curves at once, and its exact integral.

x and y are (N, P): N curves of P points, x increasing along each. Each piece is a cubic Hermite polynomial; the methods
differ in the slopes at the points.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Method = Literal["pchip", "akima"]


def integral(x: Floats, y: Floats, low: Floats, high: Floats, method: Method) -> Floats:
    """Integrates interpolated curves.

    Args:
        x: x values (N, P), P at least 2, increasing along each curve.
        y: y values (N, P).
        low: Lower limits (N,), within x.
        high: Upper limits (N,), within x.
        method: "pchip" or "akima".

    Returns:
        Integrals (N,).
    """
    slopes = SLOPES[method](np.diff(x), np.diff(y) / np.diff(x))
    return _from_start(x, y, slopes, high) - _from_start(x, y, slopes, low)


def _from_start(x: Floats, y: Floats, slopes: Floats, end: Floats) -> Floats:
    """Integrals (N,) from the first point to `end` (N,)."""
    h = np.diff(x)
    t = ((end[:, None] - x[:, :-1]) / h).clip(0, 1)  # (N, P - 1) part of each piece before the end
    values = y[:, :-1] * (t - t**3 + t**4 / 2) + y[:, 1:] * (t**3 - t**4 / 2)
    slope_terms = slopes[:, :-1] * (t**2 / 2 - t**3 * 2 / 3 + t**4 / 4) + slopes[:, 1:] * (t**4 / 4 - t**3 / 3)
    return (h * (values + h * slope_terms)).sum(1)


def _pchip(h: Floats, d: Floats) -> Floats:
    """Slopes (N, P) of the monotone cubic: no piece leaves the range of its two end values.

    At inner points the weighted harmonic mean of the neighbouring difference quotients d (N, P - 1), 0 where their
    sign changes (Fritsch and Butland, 1984); at the end points the slope of the parabola through three points, limited
    so that it does not overshoot (Moler, Numerical Computing with MATLAB, 2004, section 3.6).
    """
    if d.shape[1] == 1:
        return np.repeat(d, 2, axis=1)
    w, v = 2 * h[:, 1:] + h[:, :-1], h[:, 1:] + 2 * h[:, :-1]
    same = d[:, 1:] * d[:, :-1] > 0
    left, right = np.where(same, d[:, :-1], 1), np.where(same, d[:, 1:], 1)
    inside = np.where(same, (w + v) / (w / left + v / right), 0)
    first = _end(h[:, 0], h[:, 1], d[:, 0], d[:, 1])
    last = _end(h[:, -1], h[:, -2], d[:, -1], d[:, -2])
    return np.column_stack((first, inside, last))


def _end(h0: Floats, h1: Floats, d0: Floats, d1: Floats) -> Floats:
    """Slope (N,) at an end point; h0, d0: width and difference quotient of the last piece, h1, d1: of its neighbour."""
    slope = ((2 * h0 + h1) * d0 - h0 * d1) / (h0 + h1)
    slope = np.where(np.sign(slope) != np.sign(d0), 0, slope)
    return np.where((np.sign(d0) != np.sign(d1)) & (np.abs(slope) > 3 * np.abs(d0)), 3 * d0, slope)


def _akima(h: Floats, d: Floats) -> Floats:
    """Slopes (N, P) of Akima (Journal of the ACM 17, 1970): means of the neighbouring difference quotients.

    A quotient has the more weight the less the quotients change on its side. Two quotients are linearly extrapolated at
    each end. Where both weights vanish, the plain mean is used.
    """
    if d.shape[1] == 1:
        return np.repeat(d, 2, axis=1)
    before = 2 * d[:, :1] - d[:, 1:2]
    after = 2 * d[:, -1:] - d[:, -2:-1]
    d = np.hstack((2 * before - d[:, :1], before, d, after, 2 * after - d[:, -1:]))  # (N, P + 3)
    change = np.abs(np.diff(d))
    right, left = change[:, 2:], change[:, :-2]  # weights of the quotients before and after a point
    total = right + left
    weighted_points = total > 1e-9 * total.max(axis=1, keepdims=True)
    weighted = (right * d[:, 1:-2] + left * d[:, 2:-1]) / np.where(weighted_points, total, 1)
    return np.where(weighted_points, weighted, (d[:, 1:-2] + d[:, 2:-1]) / 2)


SLOPES = {"pchip": _pchip, "akima": _akima}
