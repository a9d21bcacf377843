"""Images as arrays (C, H, W): their shapes, types and ranges."""

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image as PillowImage
from torch import Tensor

from narrows.errors import InputError
from narrows.media.extents import ImageExtent
from narrows.media.image import from_pil
from narrows.tokenizers.channels import as_array
from narrows.tokenizers.image_alpha import alpha_attachment

Array = Tensor | NDArray[np.floating] | NDArray[np.uint8] | PillowImage
MAX_FLOAT = 2.0  # floats are in [-1, 1] with some tolerance; beyond, they are taken for another range


def extent_of(x: NDArray[np.generic]) -> ImageExtent:
    """The extent of an image (C, H, W)."""
    return ImageExtent(x.shape[1], x.shape[2], x.shape[0])


def as_image(x: Array) -> tuple[NDArray[np.generic], dict[str, bytes]]:
    """An image as an array (C, H, W), checked, and the attachments that hold its alpha plane if it has one.

    An image of Pillow is converted as a file is: its mode, colour profile, alpha and EXIF orientation count.
    """
    if isinstance(x, PillowImage):
        image = from_pil(x)
        return image.pixels, alpha_attachment(image.alpha)
    array = as_array(x)
    if array.ndim != 3 or array.shape[0] not in (1, 3) or 0 in array.shape:
        given = f"shape {array.shape}" if array.ndim else type(x).__name__
        raise InputError(f"expected an image (1 or 3, H, W), got {given}{_hint(x, array.shape)}")
    if array.dtype != np.uint8 and array.dtype.kind != "f":
        raise InputError(f"expected an image of floats in [-1, 1] or uint8, got {array.dtype}")
    if array.dtype != np.uint8:
        check_range(float(array.min()), float(array.max()))
    return array, {}


def as_opaque(x: Array) -> NDArray[np.generic]:
    """An image as an array (C, H, W), checked. Raises InputError for one with transparent pixels, too."""
    array, attachments = as_image(x)
    if attachments:
        raise InputError("expected opaque pixels, got transparent ones, which latents do not hold; flatten the image")
    return array


def _hint(x: Array, shape: tuple[int, ...]) -> str:
    """What to do with an array of another layout, as the end of a message."""
    move = "permute" if isinstance(x, Tensor) else "transpose"
    if len(shape) == 2:
        return "; give x[None]"
    if len(shape) == 3 and shape[2] in (1, 3):
        return f"; give x.{move}(2, 0, 1)"
    if len(shape) == 3 and 4 in (shape[0], shape[2]):
        colours = "x[:3]" if shape[0] == 4 else f"x[..., :3].{move}(2, 0, 1)"
        return f"; give {colours}, or an image of Pillow, whose alpha is kept"
    return "; give the images to encode_batch" if len(shape) == 4 else ""


def check_range(smallest: float, largest: float) -> None:
    """Raise InputError unless floats between these, which may be NaN, can be meant as [-1, 1]."""
    if not np.isfinite(smallest) or not np.isfinite(largest):
        raise InputError("expected finite pixels in [-1, 1], got NaN or infinity")
    if max(-smallest, largest) > MAX_FLOAT:
        action = "give levels of 0 to 255 as uint8" if smallest >= -1 and largest <= 256 else "scale them"
        raise InputError(f"expected floats in [-1, 1], got {smallest:.4g} to {largest:.4g}; {action}")
