"""Samples of any depth to 8 bits.

Axes: H W pixels, C channels.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Curve = Callable[[NDArray[np.float64]], NDArray[np.float64]]
ROWS_AT_ONCE = 1 << 20  # samples that are converted in one step
MAX_TABLE_BITS = 16


class UnknownRange(ValueError):
    """Numbers whose white is unknown."""


def to_8_bits(values: NDArray[np.generic], white: float, curve: Curve | None = None) -> NDArray[np.uint8]:
    """Samples (H, W, ...) from 0 to `white` as 8 bits, rounded; values outside are clipped.

    Args:
        values: integers or floats.
        white: the value of white.
        curve: applied to the samples, as fractions of white.
    """
    if curve is None and white == 255 and values.dtype == np.uint8:
        return values.astype(np.uint8, copy=False)
    if values.dtype.kind == "u" and values.dtype.itemsize <= 2:
        levels = np.arange(1 << 8 * values.dtype.itemsize, dtype=np.float64)
        return _rounded(levels, white, curve)[values]
    result, step = np.empty(values.shape, np.uint8), max(1, ROWS_AT_ONCE // max(1, values[:1].size))
    for first in range(0, len(values), step):
        result[first : first + step] = _rounded(values[first : first + step].astype(np.float64), white, curve)
    return result


def _rounded(values: NDArray[np.float64], white: float, curve: Curve | None) -> NDArray[np.uint8]:
    fractions = (values / white).clip(0, 1)
    return ((fractions if curve is None else curve(fractions)) * 255).round().astype(np.uint8)


def white_of(values: NDArray[np.generic]) -> float:
    """The white of 32-bit integers or floats, which files do not state.

    65535 for integers. For floats 1; or 255 if a value is above 1; or 65535 if a value is above 255.

    Raises UnknownRange for numbers that are not finite or above 65535, and for negative integers.
    """
    smallest, largest = float(values.min(initial=0)), float(values.max(initial=0))  # NaN if one is NaN
    if not np.isfinite(smallest + largest):
        raise UnknownRange("expected numbers from 0 to 1, got NaN or infinite ones; replace them")
    is_float = values.dtype.kind == "f"
    if largest > 65535 or (smallest < 0 and not is_float):
        expected = "0 to 1" if is_float else "0 to 65535"
        raise UnknownRange(f"expected numbers from {expected}, got {smallest:g} to {largest:g}; scale the image")
    if not is_float or largest > 255:
        return 65535.0
    return 255.0 if largest > 1 else 1.0
