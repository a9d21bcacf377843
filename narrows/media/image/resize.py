"""Images of one size, as image tokenizers are trained on them."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from PIL import Image as PILImage

from narrows.errors import InputError, shortened
from narrows.media.image.signal import Pixels

Crop = Literal["center", "resize"]
MAX_SIZE = 1 << 14


@dataclass(frozen=True)
class Resize:
    """Makes square images with Pillow's bicubic filter, which is antialiased.

    Args:
        size: height and width of the result, 1 to 16384 pixels.
        crop: "center": resize so that the shorter side has `size` pixels, and keep the centre; the part that is kept is
            not rounded to whole pixels. "resize": resize both sides, which changes the shape of what is shown.

    Raises:
        InputError: for another size or crop.
    """

    size: int
    crop: Crop = "center"

    def __post_init__(self) -> None:
        if type(self.size) is not int or not 1 <= self.size <= MAX_SIZE:
            raise InputError(f"expected a size from 1 to {MAX_SIZE} pixels, got {shortened(self.size)}")
        if self.crop not in get_args(Crop):
            raise InputError(f"expected a crop of {', '.join(get_args(Crop))}, got {shortened(self.crop)}")

    def __call__(self, pixels: Pixels) -> Pixels:
        """Resize pixels (C, H, W), C 1 or 3, to (C, size, size)."""
        _, height, width = pixels.shape
        side = min(height, width)
        left, top = ((width - side) / 2, (height - side) / 2) if self.crop == "center" else (0.0, 0.0)
        box = (left, top, width - left, height - top)
        image = PILImage.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
        resized = np.asarray(image.resize((self.size, self.size), PILImage.Resampling.BICUBIC, box))
        return resized[None].copy() if resized.ndim == 2 else np.ascontiguousarray(resized.transpose(2, 0, 1))
