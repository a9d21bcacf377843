"""The alpha plane of an image as an attachment of Tokens, lossless: a WebP file of three equal channels, or a PNG file.

WebP is about a third smaller than PNG, but its sides have at most 16383 pixels.
"""

import io
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from narrows.errors import DamagedStream
from narrows.media.extents import ImageExtent
from narrows.media.quiet import ignore_warnings

ALPHA = "alpha"  # name of the attachment
MAX_WEBP_SIDE = 16_383
ADVICE = "use --recover (recover() in Python) for the image without it"


def alpha_attachment(alpha: NDArray[np.uint8] | None) -> dict[str, bytes]:
    """The attachments of Tokens for an alpha plane (H, W); empty for None."""
    return {} if alpha is None else {ALPHA: _compressed(alpha)}


def attached_alpha(attachments: Mapping[str, bytes], extent: ImageExtent) -> NDArray[np.uint8] | None:
    """The alpha plane (H, W) among attachments; None without one.

    Raises DamagedStream for bytes that are no alpha plane of this size.
    """
    return _decompressed(attachments[ALPHA], *extent.size) if ALPHA in attachments else None


def _compressed(alpha: NDArray[np.uint8]) -> bytes:
    """A WebP file, or a PNG file if a side is too long for WebP."""
    image, file = PILImage.fromarray(alpha), io.BytesIO()
    if max(alpha.shape) <= MAX_WEBP_SIDE:
        image.convert("RGB").save(file, "WEBP", lossless=True, quality=100)
    else:
        image.save(file, "PNG", optimize=True)
    return file.getvalue()


def _decompressed(data: bytes, height: int, width: int) -> NDArray[np.uint8]:
    try:
        with ignore_warnings(), PILImage.open(io.BytesIO(data), formats=("WEBP", "PNG")) as image:
            if image.size == (width, height):
                return np.asarray(image.convert("L"))
            size = f"{image.width} × {image.height}"
    except Exception as error:  # some decoders raise arbitrary exceptions for invalid data
        raise DamagedStream(f"expected an alpha plane, got {len(data)} bytes that are none; {ADVICE}") from error
    raise DamagedStream(f"expected an alpha plane of {width} × {height}, got {size}; {ADVICE}")
