"""The header of an `.nrw` stream: all that can be said about it without the model. Layout: docs/stream.md.

C is the number of signals that were coded side by side, K the codebooks, *grid the latent grid of the medium.
"""

import itertools
import math
import zlib
from dataclasses import astuple, dataclass, fields
from mmap import mmap

import numpy as np

from narrows.bitstream.limits import (
    MAX_ALPHABET,
    MAX_CHUNKS,
    MAX_CODEBOOKS,
    MAX_DIGITS,
    MAX_INDEXED_SYMBOLS,
    MAX_NAME,
    MAX_QUALITY_INDEX,
    MAX_SYMBOLS,
)
from narrows.bitstream.radices import Radices, check_radices, codebook_sizes, stream_sizes
from narrows.bitstream.varint import Cursor, to_varint
from narrows.errors import DamagedStream, InputError, NewerStream, StreamError
from narrows.media.extents import (
    MAX_CHANNELS,
    MAX_COUNT,
    AudioExtent,
    Extent,
    ImageExtent,
    VideoExtent,
    check_integer,
)

MAGIC = b"\x8eNRW"  # the high bit shows a transfer that kept only seven
VERSION = 1
RAW, RANS, INDEXED = 0, 1, 2
FINGERPRINT = 8  # bytes
DIGEST = 4  # bytes
CHECKSUM = 4  # bytes
INDICES_PER_QUALITY = 8  # from one whole quality to the next
EXTENTS: dict[int, type[Extent]] = {1: AudioExtent, 2: ImageExtent, 3: VideoExtent}  # by the number of the medium

Bytes = bytes | bytearray | memoryview | mmap  # a file that is in memory or mapped into it


@dataclass(frozen=True)
class StreamHeader:
    """What a stream holds. Raises InputError at construction for whatever the format cannot say.

    model          name of the checkpoint, 1 to 63 bytes of printable UTF-8
    fingerprint    8 bytes that identify its weights
    extent         of the medium
    radices        the alphabets of each codebook that is sent (a prefix of the model's codebooks is fine)
    grid           sizes of the latent grid: (F,), (H, W) or (T, H, W)
    steps          positions along the first grid axis in one chunk; the last chunk may have fewer
    signals        C: 1, or as many as the channels that a mono model coded one by one
    tables_digest  the first 4 bytes of `FrequencyTables.digest`; None for raw codes of fixed length
    quality_index  of an entropy model that chooses a table per symbol, 0 to 255; None where each codebook has its own
    """

    model: str
    fingerprint: bytes
    extent: Extent
    radices: Radices
    grid: tuple[int, ...]
    steps: int
    signals: int = 1
    tables_digest: bytes | None = None
    quality_index: int | None = None

    def __post_init__(self) -> None:
        if not self.model.isprintable() or not 1 <= len(self.model.encode()) <= MAX_NAME:
            raise InputError(f"model name is {self.model!r}, want 1 to {MAX_NAME} bytes of printable text")
        if not isinstance(self.fingerprint, bytes) or len(self.fingerprint) != FINGERPRINT:
            raise InputError(
                f"fingerprint is {self.fingerprint!r}, want {FINGERPRINT} bytes; bytes.fromhex() makes them"
            )
        if self.tables_digest is not None and len(self.tables_digest) != DIGEST:
            raise InputError(f"tables_digest has {len(self.tables_digest)} bytes, want digest[:{DIGEST}] or None")
        check_radices(self.radices)
        if self.quality_index is not None:
            self._check_indexed()
        check_integer(self.signals, MAX_CHANNELS, "signals")
        if len(self.grid) != self.extent.axes:
            raise InputError(f"grid is {self.grid}, want {self.extent.axes} sizes for a stream of {self.extent.medium}")
        for size in self.grid:
            check_integer(size, MAX_COUNT, "a size of the grid")
        check_integer(self.steps, MAX_COUNT, "steps")
        if self.chunks > MAX_CHUNKS:
            raise InputError(f"{self.steps} steps a chunk make {self.chunks} chunks, want at most {MAX_CHUNKS}")
        symbols = len(stream_sizes(self.radices)) * self.positions(0)
        most = MAX_SYMBOLS if self.quality_index is None else MAX_INDEXED_SYMBOLS
        if symbols > most:
            raise InputError(f"{self.steps} steps make chunks of {symbols} digits, want at most {most}")

    def _check_indexed(self) -> None:
        if self.tables_digest is None or self.extent.axes != 2:
            raise InputError(
                f"a quality_index of {self.quality_index} given; want tables and an image beside it, or None"
            )
        if (
            isinstance(self.quality_index, bool)
            or not isinstance(self.quality_index, int)
            or not 0 <= self.quality_index <= MAX_QUALITY_INDEX
        ):
            raise InputError(f"quality_index is {self.quality_index!r}, want 0 to {MAX_QUALITY_INDEX}")
        if len(set(self.radices)) > 1 or len(self.radices[0]) > 1 or self.radices[0][0] % 2:
            raise InputError(f"radices are {self.radices[:2]}..., want one even alphabet for all with a quality_index")

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, K, *grid)."""
        return (self.signals, len(self.radices), *self.grid)

    @property
    def dtype(self) -> "np.dtype[np.integer]":
        """Of the codes in memory."""
        return np.dtype(np.int64 if self.quality_index is None else np.int16)

    @property
    def coder(self) -> str:
        """`rans` or `indexed` for entropy coding with tables, `raw` where each code has a fixed number of bits."""
        return ("raw", "rans", "indexed")[self._coder]

    @property
    def _coder(self) -> int:
        return RAW if self.tables_digest is None else RANS if self.quality_index is None else INDEXED

    @property
    def quality(self) -> float | None:
        """From 1 to 8, and 1 of a model that has only one; None without a quality_index."""
        return None if self.quality_index is None else 1 + self.quality_index / INDICES_PER_QUALITY

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """V of each codebook."""
        return codebook_sizes(self.radices)

    @property
    def chunks(self) -> int:
        """The number of chunks."""
        return -(-self.grid[0] // self.steps)

    def span(self, chunk: int) -> tuple[int, int]:
        """Where a chunk starts and stops along the first grid axis."""
        return chunk * self.steps, min((chunk + 1) * self.steps, self.grid[0])

    def chunk_shape(self, chunk: int) -> tuple[int, ...]:
        """(C, K, steps of this chunk, *rest of the grid)."""
        start, stop = self.span(chunk)
        return (self.signals, len(self.radices), stop - start, *self.grid[1:])

    def positions(self, chunk: int) -> int:
        """Codes of one codebook in a chunk: C times the positions of the grid."""
        start, stop = self.span(chunk)
        return self.signals * (stop - start) * math.prod(self.grid[1:])

    def to_bytes(self) -> bytes:
        """The header as it stands at the beginning of the file, with its CRC-32."""
        name = self.model.encode()
        medium = next(number for number, kind in EXTENTS.items() if type(self.extent) is kind)
        out = bytearray(MAGIC)
        out += bytes([VERSION, medium << 4 | self._coder])
        out += to_varint(len(name)) + name + self.fingerprint + (self.tables_digest or b"")
        out += b"".join(map(to_varint, astuple(self.extent)))
        out += to_varint(self.signals) + to_varint(len(self.radices))
        for digits, run in itertools.groupby(self.radices):
            out += to_varint(len(list(run))) + to_varint(len(digits))
            out += b"".join(to_varint(radix) for radix in digits)
        out += b"".join(to_varint(size) for size in self.grid) + to_varint(self.steps)
        out += b"" if self.quality_index is None else to_varint(self.quality_index)
        return bytes(out + zlib.crc32(out).to_bytes(CHECKSUM, "little"))


def read_header(data: Bytes) -> StreamHeader:
    """The header at the beginning of `data`, which may hold no more than that.

    Raises StreamError where this is no stream at all, NewerStream for a later version of the format, and
    DamagedStream for a header that is cut, fails its checksum or says what no writer would.
    """
    cursor = Cursor(memoryview(data).cast("B"))
    magic = cursor.take(min(len(MAGIC), len(cursor.view)), "the magic number")
    if magic != MAGIC[: len(magic)]:
        raise StreamError(
            f"this is no .nrw stream: it begins with {magic.hex(' ')}, not {MAGIC.hex(' ')}; give a stream"
        )
    if len(magic) < len(MAGIC):
        raise DamagedStream(f"the stream ends after {len(magic)} bytes; get the whole file")
    version = cursor.take(1, "the header")[0]
    if version > VERSION:
        raise NewerStream(f"the stream is of format version {version}, this library reads {VERSION}; update narrows")
    if version == 0:
        raise DamagedStream("the stream claims format version 0, which never was; the header is damaged")
    try:
        header = _read_fields(cursor)
    except InputError as error:
        raise DamagedStream(f"the header cannot be true: {error}; get an undamaged copy of the stream") from None
    found = zlib.crc32(cursor.view[: cursor.position])
    if cursor.take(CHECKSUM, "the checksum of the header") != found.to_bytes(CHECKSUM, "little"):
        raise DamagedStream("the header fails its checksum; get an undamaged copy of the stream")
    if header.to_bytes() != cursor.view[: cursor.position]:
        raise DamagedStream("the header is not in the one form that it can be written in; the stream is damaged")
    return header


def _read_fields(cursor: Cursor) -> StreamHeader:
    """The fields between version and checksum. Counts are held against their limits before anything is made of them."""
    medium, coder = divmod(cursor.take(1, "the header")[0], 16)
    if medium not in EXTENTS or coder not in (RAW, RANS, INDEXED):
        raise DamagedStream(f"the header names medium {medium} and coder {coder}, which do not exist; it is damaged")
    name = cursor.take(cursor.varint(MAX_NAME, "the length of the model name"), "the model name")
    try:
        model = name.decode()
    except UnicodeDecodeError:
        raise DamagedStream(f"the model name {name!r} is not UTF-8; the header is damaged") from None
    fingerprint = cursor.take(FINGERPRINT, "the fingerprint of the model")
    digest = cursor.take(DIGEST, "the digest of the tables") if coder != RAW else None
    extent = _read_extent(cursor, EXTENTS[medium])
    signals = cursor.varint(MAX_CHANNELS, "the number of signals")
    radices = _read_radices(cursor)
    grid = tuple(cursor.varint(MAX_COUNT, "a size of the grid") for _ in range(extent.axes))
    steps = cursor.varint(MAX_COUNT, "the steps of a chunk")
    quality_index = cursor.varint(MAX_QUALITY_INDEX, "the quality_index") if coder == INDEXED else None
    return StreamHeader(model, fingerprint, extent, radices, grid, steps, signals, digest, quality_index)


def _read_extent(cursor: Cursor, kind: type[Extent]) -> Extent:
    """The extent at the cursor. Raises DamagedStream for a number beyond its limit."""
    named = zip(fields(kind), kind.limits, strict=True)
    return kind(*[cursor.varint(limit, f"{field.name} of the {kind.medium}") for field, limit in named])


def _read_radices(cursor: Cursor) -> Radices:
    """Runs of equal codebooks: how many, how many digits, the alphabet of each digit."""
    books = cursor.varint(MAX_CODEBOOKS, "the number of codebooks")
    radices: list[tuple[int, ...]] = []
    while len(radices) < books:
        run = cursor.varint(books - len(radices), "a run of equal codebooks")
        if run == 0:
            raise DamagedStream("the header holds a run of no codebooks; it is damaged")
        digits = cursor.varint(MAX_DIGITS, "the number of digits of a codebook")
        radices += [tuple(cursor.varint(MAX_ALPHABET, "an alphabet") for _ in range(digits))] * run
    return tuple(radices)
