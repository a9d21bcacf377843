"""Reading, inspecting and writing image files.

probe, read, write          an ImageInfo from the header, an Image, a file; read_opaque: without transparent pixels
from_pil, ImageReader       an image of Pillow as an Image; an open file
check_target, colour_of     the format of an output, a colour by name

Reading gives 8 bits per channel, grey or sRGB, and the alpha plane of an image with transparent pixels. The EXIF
orientation is applied. If a file holds more than one image, the first is read. Metadata (EXIF, profile, comments) is
dropped.

>>> from narrows.media import image
>>> image.write("grey.png", np.full((1, 4, 6), 128, np.uint8))
>>> image.read("grey.png").pixels.shape
(1, 4, 6)
"""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from narrows.errors import InputError, MediaError
from narrows.media.atomic import atomic_write
from narrows.media.extents import ImageExtent
from narrows.media.files import Source, quoted
from narrows.media.image.reader import MAX_PIXELS, SUFFIXES, ImageReader, from_pil
from narrows.media.image.signal import Image, ImageInfo, Pixels, colour_of
from narrows.media.medium import Medium, Signal
from narrows.media.targets import Target, suffix_of

__all__ = [
    "MAX_PIXELS",
    "MEDIUM",
    "WRITTEN_SUFFIXES",
    "Image",
    "ImageInfo",
    "ImageReader",
    "check_target",
    "colour_of",
    "from_pil",
    "probe",
    "read",
    "read_opaque",
    "write",
]

_WRITE_OPTIONS: dict[str, dict[str, Any]] = {  # options of Pillow's `save`, by suffix
    ".png": {},
    ".bmp": {},
    ".tif": {"compression": "tiff_deflate"},
    ".tiff": {"compression": "tiff_deflate"},
    ".webp": {"lossless": True, "exact": True},  # exact: transparent pixels keep their colours
    ".jpg": {"quality": 95, "subsampling": "4:4:4"},
    ".jpeg": {"quality": 95, "subsampling": "4:4:4"},
    ".avif": {"quality": 95},
}
WRITTEN_SUFFIXES = frozenset(_WRITE_OPTIONS)
OPAQUE_SUFFIXES = frozenset({".jpg", ".jpeg", ".bmp"})  # of formats without alpha


def probe(source: Source) -> ImageInfo:
    """Properties of an image file, without decoding its pixels. `source` and errors as for ImageReader."""
    with ImageReader(source) as reader:
        return reader.info


def read(source: Source) -> Image:
    """The pixels of a file; `source` as for ImageReader. Raises MediaError as ImageReader and its `read` do."""
    with ImageReader(source) as reader:
        return reader.read()


def read_opaque(source: Source, background: str | None = None) -> Image:
    """The image without transparent pixels.

    Args:
        source: the file, as for ImageReader.
        background: colour that a transparent image is flattened onto, as a name of CSS or like "#rrggbb".

    Raises:
        MediaError: as ImageReader and its `read` do, and for a transparent image without a background.
        InputError: for a text that is no colour.
    """
    with ImageReader(source, background) as reader:
        found = reader.read()
    if found.alpha is not None:
        raise MediaError(
            f"expected opaque pixels, got transparent ones in {quoted(source)}; "
            "give a --background (background in Python), or flatten the image first"
        )
    return found


def check_target(target: Target, format: str | None = None) -> None:
    """Raise InputError for an output that cannot be written or whose format is unknown."""
    suffix_of(target, format, _WRITE_OPTIONS)


def write(
    target: Target,
    pixels: Pixels,
    *,
    alpha: NDArray[np.uint8] | None = None,
    overwrite: bool = False,
    format: str | None = None,
) -> None:
    """Write an image file in the format of its suffix. The file appears when it is complete.

    PNG, WebP, TIFF and BMP are lossless; JPEG (4:4:4) and AVIF are written at quality 95.

    Args:
        target: the path of the output file, or a binary file object, which is written to once all is encoded, from its
            position on, and stays open.
        pixels: (C, H, W) uint8, C 1 or 3.
        alpha: (H, W) uint8, 255 where a pixel is opaque; None if all are.
        overwrite: whether an existing file may be replaced.
        format: "png", "webp", "tif", "bmp", "jpg" or "avif"; needed for a file object.

    Raises:
        InputError: for pixels or alpha of another shape or dtype, an unknown suffix or format, and alpha for JPEG and
            BMP.
        MediaError: if the file cannot be written, or exists and `overwrite` is False.
    """
    suffix = suffix_of(target, format, _WRITE_OPTIONS)
    image = Image(pixels, alpha)
    if image.alpha is not None and suffix in OPAQUE_SUFFIXES:
        raise InputError(
            f"expected a format with transparency for an image with transparent pixels, got {suffix[1:]} for "
            f"{quoted(target)}; write a .png, or give a --background (background in Python)"
        )
    encoded = io.BytesIO()
    try:
        image.as_pil().save(encoded, PILImage.registered_extensions()[suffix], **_WRITE_OPTIONS[suffix])
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise MediaError(f"{quoted(target)} cannot be written ({reason}); write a .png instead") from error
    with atomic_write(target, overwrite=overwrite) as file:
        file.write(encoded.getbuffer())


def _write(target: Target, signal: Signal, overwrite: bool, format: str | None = None) -> None:
    assert isinstance(signal, Image)
    write(target, signal.pixels, alpha=signal.alpha, overwrite=overwrite, format=format)


MEDIUM = Medium(
    name="image",
    files="images",
    extent=ImageExtent,
    suffixes=SUFFIXES,
    default_suffix=".png",
    default_model="image",
    open=ImageReader,
    probe=probe,
    amount_of=lambda source: probe(source).pixels,
    read=read,
    write=_write,
    check_target=check_target,
    rate_unit="bits per pixel",
    rate_key="bits_per_pixel",
    rate_divisor=1,
    speed_unit="megapixels/s",
    speed_divisor=1e6,
    total_unit="megapixels",
    total_divisor=1e6,
    amount_unit="pixel",
    amount_per_minute=1 << 26,  # 1024 images of 256 × 256
    amount_per_byte=4,
    min_amount=1 << 14,
)
