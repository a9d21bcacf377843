"""How the samples of a TIFF image are stored, from its tags (TIFF 6.0, Adobe, 1992)."""

import io
from dataclasses import dataclass, replace
from typing import BinaryIO

from PIL.TiffImagePlugin import ImageFileDirectory_v2

RAW, LZW, JPEG, PACKBITS, LZMA, ZSTD = 1, 5, 7, 32773, 34925, 50000  # compression schemes
DEFLATE = frozenset({8, 32946})
CCITT = frozenset({2, 3, 4})
BYTE_CODECS = frozenset({RAW, LZW, *DEFLATE, PACKBITS, LZMA, ZSTD})
MAX_RATIO = 4096  # of all byte codecs; a strip that would need more ends early
MAX_SAMPLES = 8  # per pixel
UNSIGNED, SIGNED, FLOAT = 1, 2, 3  # sample formats


class UnsupportedTiff(ValueError):
    """A TIFF file of a kind that is not read. The message names the kind."""


class DamagedTiff(ValueError):
    """A TIFF file whose strips or tags are missing or too short."""


@dataclass(frozen=True)
class Layout:
    """How the samples of a TIFF image are stored.

    Attributes:
        height, width: size in pixels, as stored.
        samples: samples per pixel, S.
        bits: bits per sample.
        sample_format: UNSIGNED, SIGNED or FLOAT.
        compression: number of the compression scheme.
        big_endian: byte order of samples of whole bytes.
        planar: whether each sample has its own plane.
        tile: height and width of a tile; None for strips.
        rows_per_strip: rows of a strip.
        offsets, counts: position and number of bytes of each strip or tile.
        predictor: 1 none, 2 differences, 3 differences of the bytes of floats.
        reversed_bits: whether the lowest bit of a byte comes first.
        ycbcr: whether JPEG strips hold YCbCr.
        jpeg_tables: JPEG file with the tables of all strips, or empty.
        fax_options: options of CCITT group 3.
    """

    height: int
    width: int
    samples: int
    bits: int
    sample_format: int
    compression: int
    big_endian: bool
    planar: bool
    tile: tuple[int, int] | None
    rows_per_strip: int
    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    predictor: int
    reversed_bits: bool
    ycbcr: bool
    jpeg_tables: bytes
    fax_options: int

    @property
    def planes(self) -> int:
        """Number of planes that are stored one after the other."""
        return self.samples if self.planar else 1

    @property
    def segments(self) -> int:
        """Number of strips or tiles of a plane."""
        if self.tile is None:
            return -(-self.height // self.rows_per_strip)
        return -(-self.height // self.tile[0]) * -(-self.width // self.tile[1])

    @property
    def row_bytes(self) -> int:
        """Bytes of a row of a strip or tile."""
        width = self.width if self.tile is None else self.tile[1]
        return -(-width * (self.samples // self.planes) * self.bits // 8)

    def rows(self, segment: int) -> int:
        """Rows of a strip or tile of a plane; the last strip may have fewer."""
        if self.tile is not None:
            return self.tile[0]
        return min(self.rows_per_strip, self.height - segment * self.rows_per_strip)


def read_directory(file: BinaryIO) -> ImageFileDirectory_v2:
    """The tags of the first image in a TIFF or BigTIFF file."""
    file.seek(0)
    header = file.read(16)
    big = 43 in header[2:4]
    start = b"II+\0" + header[4:] if big else header[:8]  # Pillow knows BigTIFF by the little-endian number only
    directory = ImageFileDirectory_v2(start, prefix=header[:2])
    file.seek(directory.next)
    directory.load(file)
    return directory


def integers(directory: ImageFileDirectory_v2, tag: int, default: tuple[int, ...] | None) -> tuple[int, ...]:
    """The integers of a tag. Raises DamagedTiff if it is missing without a default, or holds something else."""
    values = directory.get(tag, default)
    values = values if isinstance(values, tuple) else (values,)
    if not values or any(type(value) is not int for value in values):
        raise DamagedTiff(f"TIFF tag {tag} is missing or holds no integers")
    return values


def _integer(directory: ImageFileDirectory_v2, tag: int, default: int | None = None) -> int:
    return integers(directory, tag, None if default is None else (default,))[0]


def read_layout(directory: ImageFileDirectory_v2) -> Layout:
    """How the samples are stored, from the tags.

    Raises UnsupportedTiff for a kind that is not read, and DamagedTiff for tags that are missing or contradict.
    """
    height, width = _integer(directory, 257), _integer(directory, 256)
    samples = _integer(directory, 277, 1)
    if min(height, width, samples) < 1:
        raise DamagedTiff(f"an image of {width} × {height} pixels of {samples} samples")
    if samples > MAX_SAMPLES:
        raise UnsupportedTiff(f"{samples} samples per pixel")
    compression = _integer(directory, 259, RAW)
    offsets, counts = (324, 325) if 324 in directory else (273, 279)
    tables = directory.get(347, b"")
    layout = Layout(
        height=height,
        width=width,
        samples=samples,
        bits=_one_for_all(directory, 258, "bits per sample", samples),
        sample_format=_one_for_all(directory, 339, "sample formats", samples),
        compression=compression,
        big_endian=directory.prefix == b"MM",
        planar=_integer(directory, 284, 1) == 2 and samples > 1,
        tile=(_positive(directory, 323), _positive(directory, 322)) if 324 in directory else None,
        rows_per_strip=min(height, _positive(directory, 278, height)),
        offsets=integers(directory, offsets, None),
        counts=integers(directory, counts, None) if counts in directory or compression != RAW else (),
        predictor=_integer(directory, 317, 1),
        reversed_bits=_integer(directory, 266, 1) == 2,
        ycbcr=_integer(directory, 262, 0) == 6,
        jpeg_tables=tables if isinstance(tables, bytes) else b"",
        fax_options=_integer(directory, 292, 0),
    )
    if layout.bits < 1 or layout.bits > 64:
        raise UnsupportedTiff(f"samples of {layout.bits} bits")
    if layout.counts:
        return layout
    needed = tuple(layout.rows(i % layout.segments) * layout.row_bytes for i in range(len(layout.offsets)))
    return replace(layout, counts=needed)  # of raw strips, which may leave out their sizes


def _positive(directory: ImageFileDirectory_v2, tag: int, default: int | None = None) -> int:
    value = _integer(directory, tag, default)
    if value < 1:
        raise DamagedTiff(f"TIFF tag {tag} is {value}")
    return value


def _one_for_all(directory: ImageFileDirectory_v2, tag: int, name: str, samples: int) -> int:
    """The value of a tag with one value per sample, which must be equal."""
    values = integers(directory, tag, (1,))[:samples]
    if len(set(values)) != 1:
        raise UnsupportedTiff(f"channels of different {name} ({', '.join(map(str, values))})")
    return values[0]


def check_segments(file: BinaryIO, layout: Layout) -> None:
    """Raise DamagedTiff if a strip or tile is missing, beyond the end of the file, or too short for its rows."""
    size, needed = file.seek(0, io.SEEK_END), layout.planes * layout.segments
    name, available = "strips" if layout.tile is None else "tiles", min(len(layout.offsets), len(layout.counts))
    if available < needed:
        raise DamagedTiff(f"{available} of {needed} {name} are there")
    ratio = 1.0 if layout.compression == RAW else MAX_RATIO if layout.compression in BYTE_CODECS else float("inf")
    for index in range(needed):
        least = layout.rows(index % layout.segments) * layout.row_bytes / ratio
        if layout.offsets[index] + layout.counts[index] > size or layout.counts[index] < max(1, least):
            raise DamagedTiff(f"{name[:-1]} {index + 1} of {needed} is missing or ends early")
