"""Files of pictures: what is in one, its pixels, and writing.

Reading gives 8 bits a channel, grey or RGB in sRGB, upright: an EXIF orientation is applied, an ICC profile converted,
CMYK becomes RGB, palettes are resolved, 16 bits become 8, of several pictures in a file the first one is taken.
Transparency is refused, unless nothing is transparent: a codec of three channels cannot keep it.
Metadata (EXIF, profile, comments) is not kept.

>>> from narrows.media import image
>>> image.write("grey.png", np.full((4, 6, 1), 128, np.uint8))
>>> image.read("grey.png").shape
(4, 6, 1)
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from narrows.errors import InputError, MediaError
from narrows.media.atomic import written_beside
from narrows.media.files import Source, StrPath, open_input, shown

__all__ = ["SUFFIXES", "ImageInfo", "kind", "probe", "read", "write"]

Pixels = NDArray[np.uint8]  # (H, W, C), C 1 or 3

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".gif"})
FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "TIFF", "BMP", "GIF")  # and no other, whatever a file claims to be
MOST_PIXELS = 2 * 89_478_485  # as in Pillow; what claims more is refused before anything is allocated
ORIENTATION = 0x0112  # the EXIF tag
_SETTINGS: dict[str, dict[str, Any]] = {
    ".png": {},
    ".bmp": {},
    ".tif": {"compression": "tiff_deflate"},
    ".tiff": {"compression": "tiff_deflate"},
    ".webp": {"lossless": True},
    ".jpg": {"quality": 95, "subsampling": "4:4:4"},
    ".jpeg": {"quality": 95, "subsampling": "4:4:4"},
    ".avif": {"quality": 95},
}


@dataclass(frozen=True)
class ImageInfo:
    """What a file of a picture holds, as its header says; sizes are those after the orientation is applied."""

    height: int  # pixels
    width: int
    channels: int  # after reading: 1 or 3
    format: str  # "png", "jpeg", ...
    several: bool  # more pictures follow: an animation, or pages

    @property
    def pixels(self) -> int:
        """How many."""
        return self.height * self.width


def probe(path: Source) -> ImageInfo:
    """What a file of a picture holds; pixels are not decoded. Raises MediaError for what is no picture or too large."""
    with _opened(path) as picture:
        width, height = picture.size
        turned = picture.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)  # those with the axes exchanged
        if turned and picture.format != "TIFF":  # whose sizes Pillow tells upright
            width, height = height, width
        several = bool(getattr(picture, "is_animated", False))
        return ImageInfo(height, width, 1 if _is_grey(picture) else 3, (picture.format or "").lower(), several)


def read(path: Source) -> Pixels:
    """Pixels (H, W, C) uint8, C 1 for grey or 3 for RGB.

    Raises MediaError for what is no picture, damaged, cut short, too large, or in part transparent.
    """
    with _opened(path) as picture:
        picture.load()
        profile = picture.info.get("icc_profile")
        picture = ImageOps.exif_transpose(picture)
        if picture.has_transparency_data:
            picture = _opaque(picture, path)
        grey = _is_grey(picture)
        if picture.mode.startswith(("I", "F")):
            picture = _of_wide(picture)
        if profile:
            picture = _to_srgb(picture, profile)
        pixels = np.array(picture.convert("L" if grey else "RGB"))
    return np.ascontiguousarray(pixels.reshape(*pixels.shape[:2], -1))


def kind(path: StrPath) -> str:
    """The suffix of a picture that is to be written, in lower case. Raises InputError for one that names no kind."""
    suffix = Path(path).suffix.lower()
    if suffix not in _SETTINGS:
        raise InputError(f"{shown(path)} given; pictures are written as {', '.join(sorted(_SETTINGS))}")
    return suffix


def write(path: StrPath, pixels: Pixels, *, overwrite: bool = False) -> None:
    """Write pixels (H, W, C) uint8, C 1 or 3, as the kind of file that the suffix names.

    Lossless where the kind can be (PNG, WebP, TIFF, BMP); JPEG (4:4:4) and AVIF at quality 95.
    Raises InputError for other pixels or an unknown suffix, and MediaError where the file cannot be written.
    """
    suffix = kind(path)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or 0 in pixels.shape:
        raise InputError(f"pixels of shape {pixels.shape} and type {pixels.dtype} given, uint8 (H, W, 1 or 3) wanted")
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    encoded = io.BytesIO()
    try:
        picture.save(encoded, Image.registered_extensions()[suffix], **_SETTINGS[suffix])
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise MediaError(f"{shown(path)} cannot be made ({reason}); write a .png instead") from error
    with written_beside(path, overwrite=overwrite) as file:
        file.write(encoded.getbuffer())


@contextmanager
def _opened(path: Source) -> Iterator[Image.Image]:
    name = shown(path)
    with open_input(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on odd metadata and on size, which is checked here
        try:
            with Image.open(file, formats=FORMATS) as picture:
                if picture.width * picture.height > MOST_PIXELS:
                    size = f"{picture.width} × {picture.height} pixels"
                    raise MediaError(f"{name} claims {size}, at most {MOST_PIXELS} in all are read; cut it into parts")
                yield picture
        except UnidentifiedImageError as error:
            raise MediaError(f"{name} is no picture that can be read; give {', '.join(sorted(SUFFIXES))}") from error
        except Image.DecompressionBombError as error:
            raise MediaError(f"{name} claims too many pixels, at most {MOST_PIXELS} are read; cut it") from error
        except MediaError:
            raise
        except MemoryError as error:
            raise MediaError(f"{name} needs more memory than there is; cut it, or use a machine with more") from error
        except Exception as error:  # of any kind: readers of some formats check little before they compute
            reason = " ".join(str(error).split()) or type(error).__name__
            raise MediaError(f"{name} is damaged or cut short ({reason}); get another copy") from error


def _is_grey(picture: Image.Image) -> bool:
    return picture.mode in ("1", "L", "LA", "La") or picture.mode.startswith(("I", "F"))


def _opaque(picture: Image.Image, path: Source) -> Image.Image:
    """The picture without its alpha channel. Raises MediaError where anything is transparent."""
    if picture.mode.startswith("I"):  # grey of 16 bits, one of which stands for nothing; Pillow would cut it to 8
        opaque, seen = picture, bool((np.asarray(picture) == picture.info["transparency"]).any())
    else:
        rgba = picture.convert("RGBA")
        opaque, seen = rgba.convert("RGB"), rgba.getchannel("A").getextrema()[0] != 255
        opaque = opaque.convert("L") if _is_grey(picture) else opaque
    if seen:
        raise MediaError(f"{shown(path)} is transparent in parts, which is not kept; put it on a background first")
    return opaque


def _of_wide(picture: Image.Image) -> Image.Image:
    """Grey of 16 or more bits, or of floats, to 8 bits: 65535 is white where numbers exceed 255."""
    values = np.asarray(picture, np.float64)
    if not np.isfinite(values).all():
        raise ValueError("its pixels hold NaN or infinity")
    top = 65535.0 if picture.mode != "F" or values.max(initial=0) > 255 else 255.0 if values.max(initial=0) > 1 else 1.0
    return Image.fromarray((values.clip(0, top) * (255 / top)).round().astype(np.uint8))


def _to_srgb(picture: Image.Image, profile: bytes) -> Image.Image:
    """Colours as an embedded profile means them; as they are where the profile cannot be used."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        picture = picture if picture.mode in ("L", "RGB", "CMYK", "LAB") else picture.convert("RGB")
        converted = ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return picture
    return picture if converted is None else converted
