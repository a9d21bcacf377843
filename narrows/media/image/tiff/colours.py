"""TIFF samples to colours of 8 bits. What cannot be read rightly is refused by name."""

from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from narrows.media.image.depth import to_8_bits, white_of
from narrows.media.image.tiff.layout import (
    BYTE_CODECS,
    FLOAT,
    JPEG,
    SIGNED,
    DamagedTiff,
    UnsupportedTiff,
    integers,
    read_directory,
    read_layout,
)
from narrows.media.image.tiff.samples import read_samples

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, CIELAB = 0, 1, 2, 3, 5, 6, 8
PHOTOMETRIC = {  # samples per pixel and name of each kind of colours
    WHITE_IS_ZERO: (1, "white is zero"),
    BLACK_IS_ZERO: (1, "black is zero"),
    RGB: (3, "RGB"),
    PALETTE: (1, "palette"),
    CMYK: (4, "CMYK"),
    YCBCR: (3, "YCbCr"),
    CIELAB: (3, "CIELab"),
}
OTHERS = {
    4: "transparency mask",
    9: "ICCLab",
    10: "ITULab",
    32803: "colour filter array",
    32844: "LogL",
    32845: "LogLuv",
}
REST, PREMULTIPLIED, STRAIGHT = 0, 1, 2  # kinds of extra samples
BT601 = (Fraction(299, 1000), Fraction(587, 1000), Fraction(114, 1000))


class TiffImage:
    """The first image of a TIFF file.

    Attributes:
        height, width: size in pixels, before the orientation is applied.
        orientation: as in EXIF, 1 to 8.
        profile: ICC profile, or None.
        grey: whether the image has no colours.
        multiple: whether the file holds more than one image.
        format: "TIFF".
        notes: lines for users about what is not kept.

    Raises:
        UnsupportedTiff: for a kind that is not read.
        DamagedTiff: for tags that are missing or contradict.
    """

    format = "TIFF"
    notes: tuple[str, ...] = ()

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._tags = file, read_directory(file)
        self._layout = layout = read_layout(self._tags)
        self.height, self.width = layout.height, layout.width
        self.multiple = self._tags.next != 0
        profile = self._tags.get(34675)
        self.profile = profile if isinstance(profile, bytes) else None
        orientation = integers(self._tags, 274, (1,))[0]
        self.orientation = orientation if 1 <= orientation <= 8 else 1
        kind = integers(self._tags, 262, None)[0]
        if kind not in PHOTOMETRIC:
            raise UnsupportedTiff(f"{OTHERS.get(kind, f'photometric interpretation {kind}')}")
        self._kind, self._colours = kind, PHOTOMETRIC[kind][0]
        if layout.samples < self._colours:
            raise DamagedTiff(f"{PHOTOMETRIC[kind][1]} with {layout.samples} samples per pixel")
        self.grey = kind in (WHITE_IS_ZERO, BLACK_IS_ZERO)
        self._alpha = self._find_alpha()
        self._check()

    def read(self) -> tuple[PILImage.Image, NDArray[np.uint8] | None]:
        """The image, of mode L, RGB, CMYK or LAB, and its alpha plane (H, W) if it has one."""
        samples = read_samples(self._file, self._layout)
        values, alpha = samples[..., : self._colours], None
        if self._kind == PALETTE:
            return self._with_palette(values[..., 0]), self._plane(samples, float((1 << self._layout.bits) - 1))
        white = self._white(values)
        if self._alpha is not None and self._alpha[1] == PREMULTIPLIED:
            values = _unpremultiplied(values, samples[..., self._alpha[0]], self._opaque(white))
        alpha = self._plane(samples, white)
        pixels = to_8_bits(values, white)
        if self._kind == WHITE_IS_ZERO:
            pixels = 255 - pixels
        if self.grey:
            return PILImage.fromarray(pixels[..., 0]), alpha
        modes = {CMYK: "CMYK", CIELAB: "LAB", YCBCR: "RGB" if self._layout.compression == JPEG else "YCbCr"}
        mode = modes.get(self._kind, "RGB")
        image = PILImage.frombytes(mode, (self.width, self.height), np.ascontiguousarray(pixels).tobytes())
        return image.convert("RGB") if mode == "YCbCr" else image, alpha

    def close(self) -> None:
        """Nothing is to be closed but the file."""

    def _find_alpha(self) -> tuple[int, int] | None:
        """Index and kind of the alpha sample; None without one."""
        extra = self._layout.samples - self._colours
        if 338 not in self._tags:
            if extra and (self._kind != RGB or extra > 1):
                raise UnsupportedTiff(f"{PHOTOMETRIC[self._kind][1]} with {extra} samples of unknown meaning")
            return (self._colours, STRAIGHT) if extra else None
        kinds = integers(self._tags, 338, None)[:extra]
        for index, kind in enumerate(kinds):
            if kind in (PREMULTIPLIED, STRAIGHT):
                return self._colours + index, kind
        return None

    def _check(self) -> None:
        """Raise UnsupportedTiff for combinations that are not read."""
        layout, name = self._layout, PHOTOMETRIC[self._kind][1]
        numbers = {SIGNED: "signed ", FLOAT: "float "}.get(layout.sample_format, "")
        if layout.sample_format == SIGNED and (layout.bits != 32 or self._kind != BLACK_IS_ZERO):
            raise UnsupportedTiff(f"{name} of signed integers of {layout.bits} bits")
        eight = self._kind in (YCBCR, CIELAB) or layout.compression == JPEG
        if (eight and (layout.bits != 8 or numbers)) or (self._kind in (PALETTE, CMYK) and numbers):
            raise UnsupportedTiff(f"{name} of {numbers}samples of {layout.bits} bits")
        if self._kind == PALETTE and layout.bits > 16:
            raise UnsupportedTiff(f"a palette of {layout.bits} bits")
        if self._kind == CMYK and integers(self._tags, 332, (1,))[0] != 1:
            raise UnsupportedTiff("inks other than CMYK")
        if self._kind == YCBCR and layout.compression in BYTE_CODECS:
            if integers(self._tags, 530, (2, 2)) != (1, 1):
                raise UnsupportedTiff("subsampled YCbCr without JPEG")
            weights, levels = self._numbers(529, BT601), self._numbers(532, (0, 255, 128, 255, 128, 255))
            if max(abs(a - b) for a, b in zip(weights, BT601, strict=True)) > 0.001:
                raise UnsupportedTiff("YCbCr other than that of BT.601")
            if levels != [0, 255, 128, 255, 128, 255]:
                raise UnsupportedTiff("YCbCr of limited range")
        if self._kind == CIELAB and layout.samples > 3:
            raise UnsupportedTiff("CIELab with extra samples")

    def _numbers(self, tag: int, default: tuple[Any, ...]) -> list[float]:
        values = self._tags.get(tag, default)
        if not isinstance(values, tuple) or len(values) != len(default):
            raise DamagedTiff(f"TIFF tag {tag} does not hold {len(default)} numbers")
        return [float(value) for value in values]

    def _white(self, values: NDArray[np.generic]) -> float:
        """The value of the whitest sample."""
        if self._layout.sample_format == FLOAT or self._layout.bits == 32:
            return white_of(values)
        return float((1 << self._layout.bits) - 1)

    def _opaque(self, white: float) -> float:
        """The alpha of an opaque pixel."""
        return 1.0 if self._layout.sample_format == FLOAT else white

    def _plane(self, samples: NDArray[np.generic], white: float) -> NDArray[np.uint8] | None:
        """The alpha plane in 8 bits."""
        return None if self._alpha is None else to_8_bits(samples[..., self._alpha[0]], self._opaque(white))

    def _with_palette(self, indices: NDArray[np.generic]) -> PILImage.Image:
        """Indices (H, W) as RGB."""
        colours, size = np.array(integers(self._tags, 320, None), np.int64), 1 << self._layout.bits
        if len(colours) < 3 * size:
            raise DamagedTiff(f"a palette of {len(colours) // 3} colours instead of {size}")
        table = colours[: 3 * size].reshape(3, size).T
        table = table >> 8 if table.max() > 255 else table  # of 16 bits; some writers leave them at 8
        return PILImage.fromarray(table.astype(np.uint8)[indices])


def _unpremultiplied(values: NDArray[np.generic], alpha: NDArray[np.generic], opaque: float) -> NDArray[np.generic]:
    """Colours that were multiplied by alpha / opaque, divided by it."""
    if (alpha == opaque).all():
        return values
    factor = np.divide(opaque, alpha, where=alpha != 0, out=np.ones(alpha.shape))[..., None]
    if values.dtype.kind == "f":
        return values * factor
    return (values * factor).round().clip(0, opaque).astype(values.dtype)
