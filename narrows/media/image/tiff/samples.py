"""Samples of a TIFF image as integers or floats, at any depth and in any layout.

    file ─ strips or tiles ─ decompress ─ rows of bytes ─ unpack bits ─ undo the predictor ─▶ samples (H, W, S)

Axes: H W pixels, S samples per pixel; R rows of one plane or tile.
"""

from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from narrows.media.image.tiff.codecs import decompress, from_ccitt, from_jpeg
from narrows.media.image.tiff.layout import (
    BYTE_CODECS,
    CCITT,
    FLOAT,
    JPEG,
    RAW,
    SIGNED,
    UNSIGNED,
    Layout,
    UnsupportedTiff,
    check_segments,
)

MAX_BYTES_AT_ONCE = 1 << 26  # bytes that are decompressed in one call


def read_samples(file: BinaryIO, layout: Layout) -> NDArray[np.generic]:
    """All samples (H, W, S), as unsigned or signed integers or floats in the byte order of this machine.

    Raises UnsupportedTiff and DamagedTiff.
    """
    if layout.compression not in BYTE_CODECS | CCITT | {JPEG}:
        raise UnsupportedTiff(f"compression {layout.compression}")
    check_segments(file, layout)
    planes = []
    for plane in range(layout.planes):
        segments = range(plane * layout.segments, (plane + 1) * layout.segments)
        parts = _segments(file, layout, [(layout.offsets[i], layout.counts[i]) for i in segments])
        planes.append(_assembled(parts, layout))
    return planes[0] if len(planes) == 1 else np.concatenate(planes, axis=2)


def _segments(file: BinaryIO, layout: Layout, places: Sequence[tuple[int, int]]) -> list[NDArray[np.generic]]:
    """The strips or tiles of a plane as samples (R, width, S / planes), several of them at once."""
    at_once = max(1, MAX_BYTES_AT_ONCE // (layout.rows(0) * layout.row_bytes))
    results: list[NDArray[np.generic]] = []
    for first in range(0, len(places), at_once):
        chosen = range(first, min(first + at_once, len(places)))
        rows, parts = [layout.rows(index) for index in chosen], []
        for index in chosen:
            file.seek(places[index][0])
            parts.append(file.read(places[index][1]))
        if layout.compression == JPEG:
            results += [from_jpeg(part, layout, count) for part, count in zip(parts, rows, strict=True)]
        elif layout.compression in CCITT:
            results.append(from_ccitt(parts, layout, rows))
        else:
            results.append(_unpacked(decompress(parts, layout, rows), layout))
    return results


def _unpacked(table: NDArray[np.uint8], layout: Layout) -> NDArray[np.generic]:
    """Rows of bytes (R, row bytes) as samples (R, width, S / planes)."""
    width = layout.width if layout.tile is None else layout.tile[1]
    shape = (len(table), width, layout.samples // layout.planes)
    bits, order = layout.bits, ">" if layout.big_endian else "<"
    if layout.sample_format not in (UNSIGNED, SIGNED, FLOAT):
        raise UnsupportedTiff(f"sample format {layout.sample_format}")
    if layout.predictor == 3 and layout.sample_format == FLOAT and bits in (16, 32, 64):
        return _float_predictor(table, shape, bits // 8)
    if layout.sample_format == FLOAT:
        if bits not in (16, 32, 64):
            raise UnsupportedTiff(f"floats of {bits} bits")
        values: NDArray[np.generic] = np.ascontiguousarray(table).view(f"{order}f{bits // 8}").reshape(shape)
    elif bits in (8, 16, 32):
        kind = "u" if layout.sample_format == UNSIGNED else "i"
        values = np.ascontiguousarray(table).view(f"{order}{kind}{bits // 8}").reshape(shape)
    elif layout.sample_format == SIGNED or not 1 <= bits <= 24:
        sign = "signed " if layout.sample_format == SIGNED else ""
        raise UnsupportedTiff(f"{sign}integers of {bits} bits")
    elif bits == 24:
        low, middle, high = np.moveaxis(table.reshape(*shape, 3), -1, 0)[:: -1 if layout.big_endian else 1]
        values = low | middle.astype(np.uint32) << 8 | high.astype(np.uint32) << 16
    else:
        values = _from_bits(table, shape, bits)
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if layout.predictor == 1 or layout.compression == RAW:
        return values
    if layout.predictor == 2 and values.dtype.kind in "ui" and bits in (8, 16, 32):
        return np.cumsum(values, axis=1, dtype=values.dtype)
    raise UnsupportedTiff(f"predictor {layout.predictor} for samples of {bits} bits")


def _from_bits(table: NDArray[np.uint8], shape: tuple[int, int, int], bits: int) -> NDArray[np.generic]:
    """Integers of 1 to 23 bits, the highest bit first, without gaps inside a row."""
    values = np.zeros(
        (shape[0], shape[1] * shape[2]), np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32
    )
    step = max(1, MAX_BYTES_AT_ONCE // (8 * table.shape[1]))
    for first in range(0, len(table), step):
        unpacked = np.unpackbits(table[first : first + step], axis=1)[:, : values.shape[1] * bits]
        for bit in range(bits):
            values[first : first + step] = values[first : first + step] << 1 | unpacked[:, bit::bits]
    return values.reshape(shape)


def _float_predictor(table: NDArray[np.uint8], shape: tuple[int, int, int], size: int) -> NDArray[np.generic]:
    """Floats whose bytes are stored by significance, as differences (Adobe Photoshop TIFF technical note 3)."""
    rows, width, samples = shape
    summed = np.cumsum(table.reshape(rows, -1, samples), axis=1, dtype=np.uint8)
    grouped = summed.reshape(rows, size, width * samples).transpose(0, 2, 1)
    values = np.ascontiguousarray(grouped).view(f">f{size}").reshape(shape)
    return values.astype(values.dtype.newbyteorder("="))


def _assembled(parts: Sequence[NDArray[np.generic]], layout: Layout) -> NDArray[np.generic]:
    """A plane (H, W, S / planes) from its strips, or tiles (R, width, S / planes) stacked along the rows."""
    stacked = parts[0] if len(parts) == 1 else np.concatenate(parts)
    if layout.tile is None:
        return stacked
    height, width = layout.tile
    down, across = -(-layout.height // height), -(-layout.width // width)
    grid = stacked.reshape(down, across, height, width, -1).transpose(0, 2, 1, 3, 4)
    return grid.reshape(down * height, across * width, -1)[: layout.height, : layout.width]
