"""Reads image files: 8 bits per channel, grey or sRGB, upright."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import BinaryIO

import numpy as np
from PIL import Image as PILImage
from PIL import UnidentifiedImageError

from narrows.errors import InputError, MediaError
from narrows.media.files import MemoryFile, Source, StoredFile, library_errors, open_input, quoted, stored
from narrows.media.image.colours import to_srgb
from narrows.media.image.depth import UnknownRange
from narrows.media.image.pillow import LoadedImage, PillowImage
from narrows.media.image.signal import Image, ImageInfo, colour_of
from narrows.media.image.tiff.colours import TiffImage
from narrows.media.image.tiff.layout import UnsupportedTiff
from narrows.media.medium import Reader
from narrows.media.quiet import ignore_warnings

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".gif", ".heic", ".heif"}
    | {".ppm", ".pgm", ".pbm", ".pnm"}
)
FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "BMP", "GIF", "PPM")  # no other readers of Pillow are tried
TIFF_HEADERS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
OTHER_FORMATS = {  # by their first bytes
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\0\0\1\0": "an icon (ICO)",
    b"8BPS": "a Photoshop file",
    b"v/1\1": "OpenEXR",
    b"#?RADIANCE": "Radiance HDR",
    b"DDS ": "a DDS texture",
    b"qoif": "QOI",
    b"%PDF": "a PDF",
    b"<svg": "an SVG drawing",
}
MAX_PIXELS = 2 * 89_478_485  # as in Pillow; larger images are rejected before memory is allocated
TRANSPOSED = {
    2: PILImage.Transpose.FLIP_LEFT_RIGHT,
    3: PILImage.Transpose.ROTATE_180,
    4: PILImage.Transpose.FLIP_TOP_BOTTOM,
    5: PILImage.Transpose.TRANSPOSE,
    6: PILImage.Transpose.ROTATE_270,
    7: PILImage.Transpose.TRANSVERSE,
    8: PILImage.Transpose.ROTATE_90,
}  # by EXIF orientation


class ImageReader(Reader):
    """An open image file; use it as a context manager. `read` decodes the pixels.

    Args:
        source: the path or bytes of a file, or a binary file object, which is read from its position to its end.
        background: colour that a transparent image is flattened onto, as a name of CSS or like "#rrggbb"; None to keep
            its alpha plane.

    Raises:
        MediaError: for a file that is missing, not an image of a known format, or of more than `MAX_PIXELS`.
        InputError: for a text that is no colour.
    """

    def __init__(self, source: Source, background: str | None = None) -> None:
        self._background = background
        if background is not None:
            colour_of(background)
        self._path = path = stored(source)
        self._file = open_input(path)
        try:
            with _media_errors(path):
                self._image = _open(self._file, path)
                width, height = self._image.width, self._image.height
                if width * height > MAX_PIXELS:
                    raise MediaError(
                        f"expected an image of at most {MAX_PIXELS} pixels, got {width} × {height} in {quoted(path)}; "
                        "cut it into parts"
                    )
        except BaseException:
            self._file.close()
            raise
        if self._image.orientation in (5, 6, 7, 8):
            width, height = height, width
        channels, format = 1 if self._image.grey else 3, self._image.format.lower()
        self._info = ImageInfo(height, width, channels, format, self._image.multiple, self._image.notes)

    def __repr__(self) -> str:
        info = self._info
        colours = "grey" if info.channels == 1 else "RGB"
        return f"<ImageReader {quoted(self._path)}: {info.format}, {info.width} × {info.height}, {colours}>"

    @property
    def info(self) -> ImageInfo:
        """Properties of the file."""
        return self._info

    def read(self) -> Image:
        """The image. Raises MediaError for a file that is damaged or cut short, and for numbers without a range."""
        with _media_errors(self._path):
            found = _upright(self._image)
            return found if self._background is None else found.flattened(self._background)

    def close(self) -> None:
        """Close the file. Closing it again has no effect."""
        self._image.close()
        self._file.close()


def from_pil(picture: PILImage.Image) -> Image:
    """An image of Pillow, converted as a file is: its mode, colour profile, alpha and EXIF orientation count.

    Raises MediaError for one that cannot be decoded and for numbers without a range, InputError for one without pixels.
    """
    if 0 in picture.size:
        raise InputError(f"expected an image of one pixel or more, got {picture.width} × {picture.height}")
    with _media_errors(MemoryFile("the given image", b"")):
        return _upright(LoadedImage(picture))


def _upright(source: PillowImage | TiffImage | LoadedImage) -> Image:
    """An image in sRGB, turned as its orientation says."""
    image, alpha = source.read()
    image = to_srgb(image, source.profile).convert("L" if source.grey else "RGB")
    turn = TRANSPOSED.get(source.orientation)
    pixels = np.array(image if turn is None else image.transpose(turn))
    pixels = pixels.reshape(*pixels.shape[:2], -1)  # (H, W, C)
    pixels = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    if alpha is not None and turn is not None:
        alpha = np.array(PILImage.fromarray(alpha).transpose(turn))
    return Image(pixels, alpha)


def _open(file: BinaryIO, path: StoredFile) -> PillowImage | TiffImage:
    """The first image of a file."""
    head = file.read(64)
    if head.startswith(TIFF_HEADERS):
        return TiffImage(file)
    expected = f"expected an image ({', '.join(sorted(SUFFIXES))})"
    for start, name in OTHER_FORMATS.items():
        if head.startswith(start):
            raise MediaError(f"{expected}, got {name} in {quoted(path)}; convert it to PNG")
    if head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS and b"avif" not in head:
        try:
            import pillow_heif
        except ImportError as error:
            raise MediaError(f"{expected}, got HEIC in {quoted(path)}; pip install 'narrows[heic]'") from error
        pillow_heif.register_heif_opener()
        return PillowImage(file, ("HEIF",))
    return PillowImage(file, FORMATS)


@contextmanager
def _media_errors(path: StoredFile) -> Iterator[None]:
    """Turns every error of Pillow into a MediaError of one line."""
    name = quoted(path)
    damage = "{} is damaged or cut short ({}); get another copy"  # some decoders raise arbitrary exceptions
    with ignore_warnings(), library_errors(path, partial(damage.format, name)):  # about metadata and large images
        try:
            yield
        except UnidentifiedImageError as error:
            raise MediaError(f"expected an image ({', '.join(sorted(SUFFIXES))}), got {name}") from error
        except PILImage.DecompressionBombError as error:
            raise MediaError(
                f"expected an image of at most {MAX_PIXELS} pixels, got more in {name}; cut it into parts"
            ) from error
        except UnsupportedTiff as error:
            raise MediaError(f"expected a TIFF of a known kind, got {error} in {name}; convert it to PNG") from error
        except UnknownRange as error:
            raise MediaError(f"{name}: {error}") from error
