"""Estimates of the bytes of a stream before coding. No network runs, and torch is not needed.

An image takes as many bytes as a WebP file of the same PSNR, times the ratio of the two in the model's evaluation: the
size of an image depends on what it shows, and most of that is common to all codecs.
"""

import io
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from PIL import Image as PILImage

from narrows.errors import InputError
from narrows.media.image import Image
from narrows.tokenizers.evaluations import Points

REFERENCE = "webp"
PIECE = 4096  # largest side that is compressed at once, in pixels; WebP takes at most 16383
HEADER_BYTES = 50  # of a stream, about
CHUNK_BYTES = 10  # of each chunk, beside its codes, about


def image_bytes(image: Image, points: Points, model: str, quality: float) -> float:
    """An estimate of the bytes of an image at a quality.

    Args:
        image: the image; its alpha plane is not counted.
        points: of the evaluation of the model, with WebP as a baseline.
        model: name of the model in the points.
        quality: 1 to 8.

    Raises:
        InputError: without such points.
    """
    ours = sorted((p["quality"], p["psnr_db"], p["bits_per_pixel"]) for p in points if _fits(p, model, "quality"))
    theirs = sorted((p["psnr_db"], p["setting"], p["bits_per_pixel"]) for p in points if _fits(p, REFERENCE, "setting"))
    if not ours or not theirs:
        raise InputError(
            f"expected an evaluation.json of {model} with {REFERENCE} as a baseline, got none; write one with: codec "
            f"evaluate -m {model}@all -m {REFERENCE}"
        )
    qualities, levels, rates = zip(*ours, strict=True)
    their_levels, settings, their_rates = zip(*theirs, strict=True)
    setting = round(float(np.interp(np.interp(quality, qualities, levels), their_levels, settings)))
    rate = np.interp(quality, qualities, np.log(rates)) - np.interp(setting, settings, np.log(their_rates))
    return float(np.exp(rate)) * sum(_reference_bytes(piece, setting) for piece in _pieces(image.as_pil()))


def _fits(point: Mapping[str, Any], codec: str, setting: str) -> bool:
    return point.get("codec") == codec and {setting, "psnr_db", "bits_per_pixel"} <= point.keys()


def _pieces(picture: PILImage.Image) -> Iterator[PILImage.Image]:
    picture = picture.convert("RGB")
    for top in range(0, picture.height, PIECE):
        for left in range(0, picture.width, PIECE):
            right, bottom = min(left + PIECE, picture.width), min(top + PIECE, picture.height)
            yield picture.crop((left, top, right, bottom))


def _reference_bytes(picture: PILImage.Image, setting: int) -> int:
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=setting, method=4)
    return file.tell()
