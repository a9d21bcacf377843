"""Images that Pillow decodes, with what it leaves out: all of 16 bits, data that end early, gamma, transparency."""

import io
from collections.abc import Callable
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from narrows.media.image.colours import gamma_curve, note_of_boxes, note_of_code_points, note_of_primaries
from narrows.media.image.completeness import check_gif, check_jpeg, check_png, png_chunks
from narrows.media.image.depth import Curve, to_8_bits, white_of

HEAD_BYTES = 1 << 16  # that hold the boxes of an AVIF or HEIF file
ORIENTATION = 0x0112  # the EXIF tag
GREY, GREY_ALPHA, RGB_ALPHA = 0, 4, 6  # colour types of PNG
PNG_16 = {2: ("RGB;16B", "RGB;16L"), 6: ("RGBA;16B", "RGBA;16L")}  # Pillow's names of the high and the low bytes
GAIN_MAPS = (b"hdr-gain-map", b"urn:iso:std:iso:ts:21496")


class PillowImage:
    """The first image of a file; attributes as of `tiff.colours.TiffImage`, with `format` and notes for users.

    Args:
        file: the open file.
        formats: the formats that Pillow may try.
    """

    def __init__(self, file: BinaryIO, formats: tuple[str, ...]) -> None:
        self._file = file
        file.seek(0)
        self._image = image = PILImage.open(file, formats=formats)
        self.format = image.format or ""
        self.width, self.height = image.size
        self.multiple = bool(getattr(image, "is_animated", False))
        self.profile = image.info.get("icc_profile")
        self._chunks: dict[bytes, bytes] = {}
        if self.format == "PNG":
            self._chunks = _read_chunks(file)
        header = self._chunks.get(b"IHDR", bytes(13))
        self._png_bits, self._png_type = header[8], header[9]
        self.grey = is_grey(image.mode) or (self.format == "PNG" and self._png_type == GREY_ALPHA)
        self.orientation = self._orientation()
        self.notes = self._notes()

    def read(self) -> tuple[PILImage.Image, NDArray[np.uint8] | None]:
        """The image, of mode L, RGB or CMYK, and its alpha plane (H, W) if it has one."""
        if self.format == "PNG":
            check_png(self._file)
        if self.format == "GIF":
            self._file.seek(0)
            check_gif(self._file.read())
        if self.format == "PNG" and self._png_bits == 16:
            return self._read_png_16()
        place = self._image.tile[0][1] if self._image.tile else None
        self._image.load()
        image: PILImage.Image = self._image
        if self.format in ("JPEG", "MPO"):
            self._file.seek(0)
            check_jpeg(self._file.read(), image, _decoded_jpeg)
        if self.format == "GIF" and place and place != (0, 0, *image.size):
            return image.convert("RGB"), _inside(image.convert("RGBA").getchannel("A"), place)
        curve = self._curve()
        image, alpha = separated(image, self.grey, self._keyed)
        if curve is not None and image.mode != "CMYK":
            image = PILImage.fromarray(to_8_bits(np.asarray(image), 255, curve))
        return image, alpha

    def close(self) -> None:
        """Close the image, not the file."""
        self._image.close()

    def _read_png_16(self) -> tuple[PILImage.Image, NDArray[np.uint8] | None]:
        """16 bits per channel, rounded to 8. Pillow would leave out the low bytes, so it decodes high and low ones."""
        if self._png_type == GREY:
            self._image.load()
            values: NDArray[np.generic] = np.asarray(self._image).astype(np.uint16)[..., None]
        elif self._png_type == GREY_ALPHA:
            values = self._decoded_as("RGBA").view(">u2")
        else:
            high, low = (self._decoded_as(name) for name in PNG_16[self._png_type])
            values = high.astype(np.uint16) << 8 | low
        key, alpha = self._image.info.get("transparency"), None
        if self._png_type in (GREY_ALPHA, RGB_ALPHA):
            values, alpha = values[..., :-1], to_8_bits(values[..., -1], 65535)
        elif key is not None:
            alpha = np.where((values == np.array(key)).all(-1), 0, 255).astype(np.uint8)
        pixels = to_8_bits(values, 65535, self._curve())
        return PILImage.fromarray(pixels[..., 0] if self.grey else pixels), alpha

    def _decoded_as(self, raw_mode: str) -> NDArray[np.uint8]:
        """The pixels of a PNG file (H, W, C), if its bytes are taken for those of another mode."""
        self._file.seek(0)
        with PILImage.open(self._file, formats=("PNG",)) as image:
            image.tile = [image.tile[0]._replace(args=raw_mode)]
            image.load()
            return np.asarray(image)

    def _keyed(self, values: NDArray[np.uint8], key: object) -> NDArray[np.uint8]:
        """Alpha 0 where the pixels (H, W) or (H, W, C) have the transparent colour, otherwise 255."""
        if self.format == "PNG" and self._png_type == GREY:  # Pillow scales the pixels, and the key of 1 bit
            key = int.from_bytes(self._chunks[b"tRNS"][:2], "big") * 255 // ((1 << self._png_bits) - 1)
        return _keyed(values, key)

    def _orientation(self) -> int:
        exif = PILImage.Exif()
        if b"eXIf" in self._chunks:
            exif.load(self._chunks[b"eXIf"])
        elif self.format == "PNG":
            exif = PILImage.Image.getexif(self._image)  # that of its class decodes the image
        else:
            exif = self._image.getexif()
        return orientation_of(exif)

    def _curve(self) -> Curve | None:
        """The curve to sRGB that a PNG file states by its gamma, if nothing else states the colours."""
        stated = self.profile or "srgb" in self._image.info or b"cICP" in self._chunks
        return None if stated else gamma_curve(float(self._image.info.get("gamma", 0)))

    def _notes(self) -> tuple[str, ...]:
        info = self._image.info
        if self.format == "PNG":
            if len(code_points := self._chunks.get(b"cICP", b"")) >= 2:
                return note_of_code_points(code_points[0], code_points[1])
            stated = self.profile or "srgb" in info
            return () if stated else note_of_primaries(info.get("chromaticity", ()))
        if self.format in ("AVIF", "HEIF") and not self.profile:
            self._file.seek(0)
            return note_of_boxes(self._file.read(HEAD_BYTES))
        if self.format in ("JPEG", "MPO"):
            applications = b"".join(content[:64] for _, content in getattr(self._image, "applist", ()))
            texts = bytes(info.get("xmp", b"")) + applications
            return ("its gain map for HDR displays is dropped",) if any(name in texts for name in GAIN_MAPS) else ()
        return ()


class LoadedImage:
    """An image that was made or opened with Pillow; attributes as of PillowImage."""

    def __init__(self, image: PILImage.Image) -> None:
        image.load()
        self._image = image
        self.profile = image.info.get("icc_profile")
        self.grey = is_grey(image.mode)
        self.orientation = orientation_of(image.getexif())

    def read(self) -> tuple[PILImage.Image, NDArray[np.uint8] | None]:
        """As of PillowImage."""
        return separated(self._image, self.grey, _keyed)


def separated(
    image: PILImage.Image, grey: bool, keyed: Callable[[NDArray[np.uint8], object], NDArray[np.uint8]]
) -> tuple[PILImage.Image, NDArray[np.uint8] | None]:
    """An image as one of mode L, RGB, CMYK or LAB and its alpha plane (H, W) if it has one.

    Args:
        image: the image, loaded.
        grey: whether the result is of mode L.
        keyed: makes alpha from pixels and the transparent colour.
    """
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image)
        return PILImage.fromarray(to_8_bits(values, white_of(values))), None
    alpha = None
    if image.has_transparency_data:
        key = image.info.get("transparency")
        if image.mode in ("1", "L", "RGB"):
            alpha = keyed(np.asarray(image.convert("L") if image.mode == "1" else image), key)
        else:
            image = image.convert("LA") if image.mode == "La" else image  # Pillow has no other conversion of it
            alpha = np.asarray(image.convert("RGBA").getchannel("A"))
    if image.mode not in ("L", "RGB", "CMYK", "LAB"):
        image = image.convert("L" if grey else "RGB")
    return image, alpha


def orientation_of(exif: PILImage.Exif) -> int:
    """The orientation, 1 to 8, by an EXIF block; 1 if it states none."""
    orientation = exif.get(ORIENTATION, 1)
    return orientation if orientation in range(1, 9) else 1


def is_grey(mode: str) -> bool:
    """Whether images of a mode of Pillow have no colours."""
    return mode in ("1", "L", "LA", "La") or mode.startswith(("I", "F"))


def _keyed(values: NDArray[np.uint8], key: object) -> NDArray[np.uint8]:
    """Alpha 0 where the pixels (H, W) or (H, W, C) have the transparent colour, otherwise 255."""
    same = values == np.array(key)
    return np.where(same.all(-1) if values.ndim == 3 else same, 0, 255).astype(np.uint8)


def _read_chunks(file: BinaryIO) -> dict[bytes, bytes]:
    """The content of those chunks of a PNG file that Pillow leaves out or finds only by decoding the image."""
    found = {}
    for name, place, length in png_chunks(file):
        if name in (b"IHDR", b"cICP", b"eXIf", b"tRNS") and length <= HEAD_BYTES:
            file.seek(place)
            found[name] = file.read(length)
    return found


def _decoded_jpeg(data: bytes) -> PILImage.Image:
    image = PILImage.open(io.BytesIO(data), formats=("JPEG",))
    image.load()
    return image


def _inside(alpha: PILImage.Image, place: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """An alpha plane that is transparent outside of a rectangle (left, top, right, bottom)."""
    result = np.zeros((alpha.height, alpha.width), np.uint8)
    left, top, right, bottom = place
    result[top:bottom, left:right] = np.asarray(alpha)[top:bottom, left:right]
    return result
