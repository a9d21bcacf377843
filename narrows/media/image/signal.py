"""An image in memory, and what is known of an image file."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageColor

from narrows.errors import InputError, described, shortened
from narrows.media import notebook
from narrows.media.extents import ImageExtent
from narrows.media.medium import Signal

Pixels = NDArray[np.uint8]  # (C, H, W), C 1 or 3


@dataclass(frozen=True)
class ImageInfo:
    """Properties of an image file, read from its header.

    Attributes:
        height, width: size in pixels, after the orientation is applied.
        channels: channels after reading, 1 or 3.
        format: "png", "jpeg", ...
        multiple: whether the file holds more than one image: an animation, or pages.
        notes: what else reading does not keep, one line each.
    """

    height: int
    width: int
    channels: int
    format: str
    multiple: bool
    notes: tuple[str, ...] = ()

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.height * self.width

    @property
    def facts(self) -> dict[str, Any]:
        """Width, height, channels and format."""
        return {"width": self.width, "height": self.height, "channels": self.channels, "format": self.format}

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about what reading does not keep."""
        return (*(["holds several images; only the first is encoded"] if self.multiple else []), *self.notes)


@dataclass(frozen=True, eq=False, repr=False)
class Image(Signal):
    """Pixels (C, H, W) uint8, C 1 for grey or 3 for RGB in sRGB.

    Attributes:
        pixels: the colours, also of transparent pixels.
        alpha: (H, W) uint8, 255 where a pixel is opaque; None if all are.

    Raises:
        InputError: for pixels or alpha of another shape or dtype.
    """

    medium: ClassVar[str] = "image"

    pixels: Pixels
    alpha: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        pixels = self.pixels
        if (
            not isinstance(pixels, np.ndarray)
            or pixels.dtype != np.uint8
            or pixels.ndim != 3
            or (len(pixels) not in (1, 3) or 0 in pixels.shape)
        ):
            raise InputError(f"expected pixels (1 or 3, H, W) uint8, got {described(pixels)}")
        if self.alpha is None:
            return
        shape = self.pixels.shape[1:]
        if getattr(self.alpha, "dtype", None) != np.uint8 or self.alpha.shape != shape:
            raise InputError(f"expected alpha {shape} uint8, got {described(self.alpha)}")
        if self.alpha.min(initial=255) == 255:
            object.__setattr__(self, "alpha", None)

    def __repr__(self) -> str:
        colours = ("grey" if len(self.pixels) == 1 else "RGB") + (" with alpha" if self.alpha is not None else "")
        return f"Image({self.extent}, {colours})"

    def _repr_html_(self) -> str:
        """The picture, for notebooks."""
        return notebook.picture(self.as_pil(), repr(self))

    @property
    def extent(self) -> ImageExtent:
        """Height, width and channels."""
        channels, height, width = self.pixels.shape
        return ImageExtent(height, width, channels)

    @property
    def array(self) -> Pixels:
        """The pixels."""
        return self.pixels

    def with_array(self, array: NDArray[np.generic]) -> "Image":
        """A new opaque image with the given pixels (C, H, W)."""
        return Image(array.astype(np.uint8, copy=False))

    def as_rgb(self) -> "Image":
        """The same image with three channels; a grey channel is repeated."""
        return Image(np.repeat(self.pixels, 3 // len(self.pixels), axis=0), self.alpha)

    def as_pil(self) -> PILImage.Image:
        """The image as Pillow has it, of mode L, LA, RGB or RGBA."""
        pixels = self.pixels
        image = PILImage.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
        if self.alpha is not None:
            image.putalpha(PILImage.fromarray(self.alpha))
        return image

    def flattened(self, background: str) -> "Image":
        """The opaque image on a background; colours and grey levels stay as they are where it is opaque.

        Args:
            background: a colour, as a name of CSS or like "#rrggbb".

        Raises:
            InputError: for another text.
        """
        colour = colour_of(background)
        if self.alpha is None:
            return self
        pixels = self.pixels if len(set(colour)) == 1 else self.as_rgb().pixels
        alpha, behind = self.alpha.astype(np.uint32), np.array(colour[: len(pixels)], np.uint32)[:, None, None]
        return Image(((pixels * alpha + behind * (255 - alpha) + 127) // 255).astype(np.uint8))


def colour_of(text: str) -> tuple[int, int, int]:
    """The red, green and blue of a colour, as a name of CSS or like "#rrggbb". Raises InputError for another text."""
    try:
        found = ImageColor.getrgb(text)
    except (ValueError, AttributeError, TypeError) as error:
        raise InputError(f"expected a colour such as white or '#ff8000', got {shortened(text)}") from error
    if max(found) > 255:
        raise InputError(f"expected a colour of levels from 0 to 255, got {shortened(text)}")
    if len(found) != 3:
        raise InputError(f"expected an opaque colour such as white or '#ff8000', got {shortened(text)}")
    return found
