"""Images as arrays: their shapes, types and ranges."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from narrows.errors import InputError
from narrows.media.extents import ImageExtent
from narrows.tokenizers.channels import as_array

Array = Tensor | NDArray[np.floating] | NDArray[np.uint8]
MAX_FLOAT = 2.0  # floats are in [-1, 1] with some tolerance; beyond, they are taken for another range


def extent_of(x: NDArray[np.generic]) -> ImageExtent:
    return ImageExtent(x.shape[1], x.shape[2], x.shape[0])


def as_image(x: Array) -> NDArray[np.generic]:
    """Check the shape, type and values of an image and return it as an array (C, H, W)."""
    array = as_array(x)
    if array.ndim != 3 or array.shape[0] not in (1, 3) or 0 in array.shape:
        raise InputError(f"expected an image (1 or 3, H, W), got shape {array.shape}")
    if array.dtype != np.uint8 and array.dtype.kind != "f":
        raise InputError(f"expected an image of floats in [-1, 1] or uint8, got {array.dtype}")
    if array.dtype != np.uint8:
        _check_range(float(array.min()), float(array.max()))
    return array


def _check_range(smallest: float, largest: float) -> None:
    """Raise InputError unless floats between these, which may be NaN, can be meant as [-1, 1]."""
    if not np.isfinite(smallest) or not np.isfinite(largest):
        raise InputError("expected finite pixels in [-1, 1], got NaN or infinity")
    if max(-smallest, largest) > MAX_FLOAT:
        action = "give levels of 0 to 255 as uint8" if smallest >= -1 and largest <= 256 else "scale them"
        raise InputError(f"expected floats in [-1, 1], got {smallest:.4g} to {largest:.4g}; {action}")
