"""Reading, inspecting and writing image files.

Reading gives 8 bits per channel, grey or sRGB, and the alpha plane of an image with transparent pixels. The EXIF
orientation is applied. If a file holds more than one image, the first is read. Metadata (EXIF, profile, comments) is
dropped.

>>> from narrows.media import image
>>> image.write("grey.png", np.full((1, 4, 6), 128, np.uint8))
>>> image.read("grey.png").pixels.shape
(1, 4, 6)
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from narrows.errors import InputError, MediaError
from narrows.media.atomic import atomic_write
from narrows.media.extents import ImageExtent
from narrows.media.files import Source, StrPath, quoted
from narrows.media.image.reader import MAX_PIXELS, SUFFIXES, ImageReader
from narrows.media.image.signal import Image, ImageInfo, Pixels, colour_of
from narrows.media.medium import Medium, Signal

__all__ = [
    "MAX_PIXELS",
    "MEDIUM",
    "WRITTEN_SUFFIXES",
    "Image",
    "ImageInfo",
    "ImageReader",
    "check_suffix",
    "colour_of",
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


def probe(path: Source) -> ImageInfo:
    """Properties of an image file, without decoding its pixels. Raises MediaError as ImageReader does."""
    with ImageReader(path) as reader:
        return reader.info


def read(path: Source) -> Image:
    """The pixels of a file. Raises MediaError as ImageReader and its `read` do."""
    with ImageReader(path) as reader:
        return reader.read()


def read_opaque(path: Source, background: str | None = None) -> Image:
    """The image without transparent pixels.

    Args:
        path: the file.
        background: colour that a transparent image is flattened onto, as a name of CSS or like "#rrggbb".

    Raises:
        MediaError: as ImageReader and its `read` do, and for a transparent image without a background.
        InputError: for a text that is no colour.
    """
    with ImageReader(path, background) as reader:
        found = reader.read()
    if found.alpha is not None:
        raise MediaError(
            f"expected opaque pixels, got transparent ones in {quoted(path)}; "
            "give a --background (background in Python), or flatten the image first"
        )
    return found


def check_suffix(path: StrPath) -> str:
    """The suffix of an output in lower case. Raises InputError for an unknown suffix."""
    suffix = Path(path).suffix.lower()
    if suffix not in _WRITE_OPTIONS:
        known = ", ".join(sorted(_WRITE_OPTIONS))
        raise InputError(f"expected one of the suffixes {known}, got {suffix or 'none'} in {quoted(path)}; name a .png")
    return suffix


def write(path: StrPath, pixels: Pixels, *, alpha: NDArray[np.uint8] | None = None, overwrite: bool = False) -> None:
    """Write an image file in the format of its suffix. The file appears when it is complete.

    PNG, WebP, TIFF and BMP are lossless; JPEG (4:4:4) and AVIF are written at quality 95.

    Args:
        path: the output file.
        pixels: (C, H, W) uint8, C 1 or 3.
        alpha: (H, W) uint8, 255 where a pixel is opaque; None if all are.
        overwrite: whether an existing file may be replaced.

    Raises:
        InputError: for pixels or alpha of another shape or dtype, an unknown suffix, and alpha for JPEG and BMP.
        MediaError: if the file cannot be written, or exists and `overwrite` is False.
    """
    suffix = check_suffix(path)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[0] not in (1, 3) or 0 in pixels.shape:
        raise InputError(f"expected pixels (1 or 3, H, W) uint8, got {pixels.dtype} of shape {pixels.shape}")
    image = PILImage.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    alpha = Image(pixels, alpha).alpha
    if alpha is not None:
        if suffix in OPAQUE_SUFFIXES:
            raise InputError(
                f"expected a format with transparency for an image with transparent pixels, got {quoted(path)}; "
                "write a .png, or give a --background"
            )
        image.putalpha(PILImage.fromarray(alpha))
    encoded = io.BytesIO()
    try:
        image.save(encoded, PILImage.registered_extensions()[suffix], **_WRITE_OPTIONS[suffix])
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise MediaError(f"{quoted(path)} cannot be written ({reason}); write a .png instead") from error
    with atomic_write(path, overwrite=overwrite) as file:
        file.write(encoded.getbuffer())


def _write(path: StrPath, signal: Signal, overwrite: bool) -> None:
    assert isinstance(signal, Image)
    write(path, signal.pixels, alpha=signal.alpha, overwrite=overwrite)


MEDIUM = Medium(
    name="image",
    files="images",
    extent=ImageExtent,
    suffixes=SUFFIXES,
    default_suffix=".png",
    default_model="image",
    open=ImageReader,
    amount_of=lambda path: probe(path).pixels,
    read=read,
    write=_write,
    check_suffix=check_suffix,
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
