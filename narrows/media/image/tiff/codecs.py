"""Decompresses the strips and tiles of a TIFF image.

libtiff, through Pillow, undoes LZW and the like: strips are given to it as the rows of a grey image of 8 bits, so that
it returns their bytes. JPEG strips are completed to files, with a marker that says whether their colours are YCbCr.
"""

import io
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from narrows.media.image.completeness import check_jpeg
from narrows.media.image.tiff.layout import DEFLATE, RAW, DamagedTiff, Layout, UnsupportedTiff

REVERSED = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)[:, ::-1], axis=1)[:, 0]

BLACK_DOTS = int("00100110101010" * 32, 2).to_bytes(56, "big")  # horizontal mode, no white and one black pixel
DOTTED_ROWS = int("000000000001001101010100001110100001110100111010" * 8, 2).to_bytes(48, "big")  # end of line; runs
FAX_PADS = (
    b"\xff" * 64,
    DOTTED_ROWS,
    BLACK_DOTS,
    *(bytes([1 << bit]) + BLACK_DOTS for bit in range(8)),
)  # any code's end


def decompress(parts: Sequence[bytes], layout: Layout, rows: Sequence[int]) -> NDArray[np.uint8]:
    """Strips of the given numbers of rows to rows of bytes (R, row bytes)."""
    if layout.compression not in (RAW, *DEFLATE):
        return _by_libtiff(parts, layout, rows, 8, layout.row_bytes)
    pieces = []
    for part, count in zip(parts, rows, strict=True):
        size = count * layout.row_bytes
        part = REVERSED[np.frombuffer(part, np.uint8)].tobytes() if layout.reversed_bits else part
        pieces.append(part[:size] if layout.compression == RAW else zlib.decompressobj().decompress(part, size))
        if len(pieces[-1]) < size:
            raise DamagedTiff("a strip ends early")
    return np.frombuffer(b"".join(pieces), np.uint8).reshape(-1, layout.row_bytes)


def from_ccitt(parts: Sequence[bytes], layout: Layout, rows: Sequence[int]) -> NDArray[np.uint8]:
    """Strips of fax codes to samples (R, width, 1). An incomplete strip reads the bytes that are appended to it."""
    if layout.bits != 1 or layout.samples != 1:
        raise UnsupportedTiff(f"fax compression of {layout.samples} samples of {layout.bits} bits")
    width = layout.width if layout.tile is None else layout.tile[1]
    found = _by_libtiff(parts, layout, rows, 1, width)
    for pad in FAX_PADS:
        if not np.array_equal(found, _by_libtiff([part + pad for part in parts], layout, rows, 1, width)):
            raise DamagedTiff("a strip ends early")
    return found.astype(np.uint8)[..., None]


def from_jpeg(part: bytes, layout: Layout, rows: int) -> NDArray[np.uint8]:
    """A strip of JPEG to samples (rows, width, S); YCbCr becomes RGB."""
    samples, width = layout.samples // layout.planes, layout.width if layout.tile is None else layout.tile[1]
    if layout.bits != 8 or layout.planes > 1 or samples not in (1, 3, 4):
        raise UnsupportedTiff(f"JPEG of {layout.samples} samples of {layout.bits} bits")
    transform = 1 if layout.ycbcr else 0
    colours = b"\xff\xee" + struct.pack(">H5sHHHB", 14, b"Adobe", 100, 0, 0, transform)
    data = b"\xff\xd8" + colours + layout.jpeg_tables[2:-2] + part[2:]

    def decode(data: bytes) -> PILImage.Image:
        with PILImage.open(io.BytesIO(data), formats=("JPEG",)) as image:
            if image.width != width or not rows <= image.height <= layout.rows(0):
                raise DamagedTiff(f"a strip of {image.width} × {image.height} pixels instead of {width} × {rows}")
            image.load()
            return image

    image = decode(data)
    check_jpeg(data, image, decode)
    found = np.asarray(image)[:rows].reshape(rows, width, -1)
    if found.shape[2] != samples:
        raise DamagedTiff(f"a strip of {found.shape[2]} samples per pixel instead of {samples}")
    return 255 - found if samples == 4 else found  # Pillow inverts CMYK, as Adobe's JPEG files need


def _by_libtiff(
    parts: Sequence[bytes], layout: Layout, rows: Sequence[int], bits: int, width: int
) -> NDArray[np.uint8]:
    """Strips as the rows of a grey image (R, width) of 1 or 8 bits."""
    number, offsets = len(parts), np.cumsum([0, *map(len, parts)])[:-1]
    entries: list[tuple[int, Sequence[int]]] = [
        (256, [width]),
        (257, [sum(rows)]),
        (258, [bits]),
        (259, [layout.compression]),
        (262, [1]),
        (266, [2 if layout.reversed_bits else 1]),
        (273, [0]),
        (277, [1]),
        (278, [rows[0]]),
        (279, [len(part) for part in parts]),
        (292, [layout.fax_options]),
    ]
    if layout.compression != 3:
        entries.pop()
    end = 8 + 2 + 12 * len(entries) + 4  # of the directory; lists longer than one follow
    start = end + (8 * number if number > 1 else 0)
    entries[6] = (273, [start + int(offset) for offset in offsets])
    directory, lists = struct.pack("<H", len(entries)), b""
    for tag, values in entries:
        place = values[0] if len(values) == 1 else end + len(lists)
        directory += struct.pack("<HHII", tag, 4, len(values), place)
        lists += struct.pack(f"<{number}I", *values) if len(values) > 1 else b""
    data = b"II*\0" + struct.pack("<I", 8) + directory + bytes(4) + lists + b"".join(parts)
    with PILImage.open(io.BytesIO(data), formats=("TIFF",)) as image:
        return np.asarray(image)
