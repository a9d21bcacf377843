"""Reading, inspecting and writing image files.

Reading gives 8 bits per channel, grey or sRGB. The EXIF orientation is applied. Colours with an ICC profile, CMYK and
palettes are converted to sRGB, and 16 bits to 8. If a file holds more than one image, the first is read. A transparent
pixel is an error, because the codecs have no alpha channel. Metadata (EXIF, profile, comments) is dropped.

>>> from narrows.media import image
>>> image.write("grey.png", np.full((1, 4, 6), 128, np.uint8))
>>> image.read("grey.png").pixels.shape
(1, 4, 6)
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageCms, ImageOps, UnidentifiedImageError

from narrows.errors import InputError, MediaError
from narrows.media.atomic import atomic_write
from narrows.media.extents import ImageExtent
from narrows.media.files import Source, StrPath, open_input, quoted
from narrows.media.medium import Medium, Reader, Signal
from narrows.media.quiet import ignore_warnings

__all__ = ["MEDIUM", "Image", "ImageInfo", "ImageReader", "check_suffix", "probe", "read", "write"]

Pixels = NDArray[np.uint8]  # (C, H, W), C 1 or 3

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".gif"})
FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "TIFF", "BMP", "GIF")  # no other readers of Pillow are tried
MAX_PIXELS = 2 * 89_478_485  # as in Pillow; larger images are rejected before memory is allocated
ORIENTATION = 0x0112  # the EXIF tag
_WRITE_OPTIONS: dict[str, dict[str, Any]] = {  # options of Pillow's `save`, by suffix
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
    """Properties of an image file, read from its header.

    Attributes:
        height, width: size in pixels, after the orientation is applied.
        channels: channels after reading, 1 or 3.
        format: "png", "jpeg", ...
        multiple: whether the file holds more than one image: an animation, or pages.
    """

    height: int
    width: int
    channels: int
    format: str
    multiple: bool

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.height * self.width

    @property
    def warnings(self) -> tuple[str, ...]:
        """One warning if the file holds more than one image, otherwise empty."""
        return ("holds several images; only the first is encoded",) if self.multiple else ()


@dataclass(frozen=True, eq=False)
class Image(Signal):
    """Pixels (C, H, W) uint8, C 1 for grey or 3 for RGB in sRGB."""

    medium: ClassVar[str] = "image"

    pixels: Pixels

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
        """A new image with the given pixels (C, H, W)."""
        return Image(array.astype(np.uint8, copy=False))

    def as_rgb(self) -> "Image":
        """The same image with three channels; a grey channel is repeated."""
        return Image(np.repeat(self.pixels, 3 // len(self.pixels), axis=0))


class ImageReader(Reader):
    """An open image file; use it as a context manager. `read` decodes the pixels.

    Args:
        path: the file.

    Raises:
        MediaError: for a file that is missing, not an image of a known format, or of more than `MAX_PIXELS`.
    """

    def __init__(self, path: Source) -> None:
        self._path = path
        self._file = open_input(path)
        try:
            with _media_errors(path):
                self._image = PILImage.open(self._file, formats=FORMATS)
                width, height = self._image.size
                if width * height > MAX_PIXELS:
                    raise MediaError(
                        f"expected an image of at most {MAX_PIXELS} pixels, got {width} × {height} in {quoted(path)}; "
                        "cut it into parts"
                    )
                transposed = self._image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
                if transposed and self._image.format != "TIFF":  # for TIFF, Pillow's size is already rotated
                    width, height = height, width
                multiple = bool(getattr(self._image, "is_animated", False))
                channels = 1 if _is_grey(self._image) else 3
                self._info = ImageInfo(height, width, channels, (self._image.format or "").lower(), multiple)
        except BaseException:
            self._file.close()
            raise

    @property
    def info(self) -> ImageInfo:
        """Properties of the file."""
        return self._info

    def read(self) -> Image:
        """The pixels. Raises MediaError for a file that is damaged, cut short or has a transparent pixel."""
        with _media_errors(self._path):
            image: PILImage.Image = self._image
            image.load()
            profile = image.info.get("icc_profile")
            image = ImageOps.exif_transpose(image)
            if image.has_transparency_data:
                image = _opaque(image, self._path)
            grey = _is_grey(image)
            if image.mode.startswith(("I", "F")):
                image = _to_8_bits(image)
            if profile:
                image = _to_srgb(image, profile)
            pixels = np.array(image.convert("L" if grey else "RGB"))
            pixels = pixels.reshape(*pixels.shape[:2], -1)  # (H, W, C)
            return Image(np.ascontiguousarray(pixels.transpose(2, 0, 1)))

    def close(self) -> None:
        """Close the file. Closing it again has no effect."""
        self._image.close()
        self._file.close()


def probe(path: Source) -> ImageInfo:
    """Properties of an image file, without decoding its pixels. Raises MediaError as ImageReader does."""
    with ImageReader(path) as reader:
        return reader.info


def read(path: Source) -> Image:
    """The pixels of a file. Raises MediaError as ImageReader and its `read` do."""
    with ImageReader(path) as reader:
        return reader.read()


def check_suffix(path: StrPath) -> str:
    """The suffix of an output in lower case. Raises InputError for an unknown suffix."""
    suffix = Path(path).suffix.lower()
    if suffix not in _WRITE_OPTIONS:
        known = ", ".join(sorted(_WRITE_OPTIONS))
        raise InputError(f"expected one of the suffixes {known}, got {suffix or 'none'} in {quoted(path)}")
    return suffix


def write(path: StrPath, pixels: Pixels, *, overwrite: bool = False) -> None:
    """Write an image file in the format of its suffix. The file appears when it is complete.

    PNG, WebP, TIFF and BMP are lossless; JPEG (4:4:4) and AVIF are written at quality 95.

    Args:
        path: the output file.
        pixels: (C, H, W) uint8, C 1 or 3.
        overwrite: whether an existing file may be replaced.

    Raises:
        InputError: for pixels of another shape or dtype, or an unknown suffix.
        MediaError: if the file cannot be written, or exists and `overwrite` is False.
    """
    suffix = check_suffix(path)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[0] not in (1, 3) or 0 in pixels.shape:
        raise InputError(f"expected pixels (1 or 3, H, W) uint8, got {pixels.dtype} of shape {pixels.shape}")
    image = PILImage.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    encoded = io.BytesIO()
    try:
        image.save(encoded, PILImage.registered_extensions()[suffix], **_WRITE_OPTIONS[suffix])
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise MediaError(f"{quoted(path)} cannot be written ({reason}); write a .png instead") from error
    with atomic_write(path, overwrite=overwrite) as file:
        file.write(encoded.getbuffer())


@contextmanager
def _media_errors(path: Source) -> Iterator[None]:
    """Turns every error of Pillow into a MediaError of one line."""
    name = quoted(path)
    with ignore_warnings():  # about metadata and large images; the size is checked elsewhere
        try:
            yield
        except UnidentifiedImageError as error:
            raise MediaError(f"expected an image ({', '.join(sorted(_SUFFIXES))}), got {name}") from error
        except PILImage.DecompressionBombError as error:
            raise MediaError(
                f"expected an image of at most {MAX_PIXELS} pixels, got more in {name}; cut it into parts"
            ) from error
        except MediaError:
            raise
        except MemoryError as error:
            raise MediaError(
                f"not enough memory for {name}; cut it into parts, or use a machine with more memory"
            ) from error
        except Exception as error:  # some Pillow decoders raise arbitrary exceptions for invalid data
            reason = " ".join(str(error).split()) or type(error).__name__
            raise MediaError(f"{name} is damaged or cut short ({reason}); get another copy") from error


def _is_grey(image: PILImage.Image) -> bool:
    return image.mode in ("1", "L", "LA", "La") or image.mode.startswith(("I", "F"))


def _opaque(image: PILImage.Image, path: Source) -> PILImage.Image:
    """The image without its alpha channel. Raises MediaError if a pixel is transparent."""
    if image.mode.startswith("I"):  # 16-bit grey with one transparent value; Pillow would convert it to 8 bits
        opaque, transparent = image, bool((np.asarray(image) == image.info["transparency"]).any())
    else:
        rgba = image.convert("RGBA")
        opaque, transparent = rgba.convert("RGB"), rgba.getchannel("A").getextrema()[0] != 255
        opaque = opaque.convert("L") if _is_grey(image) else opaque
    if transparent:
        raise MediaError(
            f"expected opaque pixels, got transparent ones in {quoted(path)}; flatten the image onto a background first"
        )
    return opaque


def _to_8_bits(image: PILImage.Image) -> PILImage.Image:
    """Convert grey pixels of 16 or more bits, or floats, to 8 bits.

    White is 65535 for integers. For floats it is 1; or 255 if a value is above 1; or 65535 if a value is above 255.
    """
    values = np.asarray(image, np.float64)
    if not np.isfinite(values).all():
        raise ValueError("pixels are NaN or infinite")
    largest = values.max(initial=0)
    white = 65535.0 if image.mode != "F" or largest > 255 else 255.0 if largest > 1 else 1.0
    return PILImage.fromarray((values.clip(0, white) * (255 / white)).round().astype(np.uint8))


def _to_srgb(image: PILImage.Image, profile: bytes) -> PILImage.Image:
    """Colours converted from an embedded profile to sRGB; unchanged if the profile cannot be used."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        image = image if image.mode in ("L", "RGB", "CMYK", "LAB") else image.convert("RGB")
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image
    return image if converted is None else converted


def _write(path: StrPath, signal: Signal, overwrite: bool) -> None:
    assert isinstance(signal, Image)
    write(path, signal.pixels, overwrite=overwrite)


MEDIUM = Medium(
    name="image",
    files="images",
    extent=ImageExtent,
    suffixes=_SUFFIXES,
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
