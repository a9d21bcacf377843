"""The header of an `.nrw` stream: what a stream holds, readable without the model. Layout: docs/stream.md.

G groups of channels that are coded side by side, K codebooks, *grid the latent grid of the medium.
"""

import itertools
import math
import re
import zlib
from dataclasses import astuple, dataclass, fields

import numpy as np

from narrows.bitstream.limits import (
    MAX_ALPHABET,
    MAX_ATTACHMENT,
    MAX_CHUNKS,
    MAX_CODEBOOKS,
    MAX_DIGITS,
    MAX_INDEXED_SYMBOLS,
    MAX_NAME,
    MAX_QUALITY_INDEX,
    MAX_SYMBOLS,
)
from narrows.bitstream.radices import Radices, alphabet_sizes, check_radices, codebook_sizes
from narrows.bitstream.varint import Cursor, to_varint
from narrows.errors import DamagedStream, InputError, NewerStream, StreamError, shortened
from narrows.media.buffers import Bytes, byte_view
from narrows.media.extents import (
    MAX_CHANNELS,
    MAX_COUNT,
    AudioExtent,
    Extent,
    ImageExtent,
    VideoExtent,
    check_integer,
)

MAGIC = b"\x8eNRW"  # the high bit is lost in a transfer of 7 bits per byte
VERSION = 4
PLAIN_VERSION = 2  # of streams without predicted frequencies, times (both are version 3) and scales (version 4)
CODERS = RAW, RANS, INDEXED, PREDICTED = 0, 1, 2, 3
HAS_ATTACHMENTS = 8  # bit of the coder's number in the header
FINGERPRINT_BYTES = 8  # bytes
DIGEST_BYTES = 4  # bytes
STREAM_ID_BYTES = 3  # bytes
CHECKSUM_BYTES = 4  # bytes
INDICES_PER_QUALITY = 8  # quality indices from one integer quality to the next
EXTENTS: dict[int, type[Extent]] = {
    1: AudioExtent,
    2: ImageExtent,
    3: VideoExtent,
}  # by the number of the medium in the header
ATTACHMENTS = {
    1: "alpha",
    2: (SOUND := "audio"),
    3: (TIMES := "times"),
    4: (SCALES := "scales"),
}  # by their number in the header: alpha plane of an image, sound of a video, times of its frames, scales of audio
# control and format characters, line separators, surrogates and specials: the same on every version of Unicode
UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff0-\uffff]"
)


@dataclass(frozen=True, repr=False)
class StreamHeader:
    """Header of a stream: what it contains and how it is coded.

    Args:
        model: name of the checkpoint, 1 to 63 bytes of UTF-8 without the characters of `UNPRINTABLE`.
        fingerprint: 8 bytes that identify its weights.
        extent: size of the signal.
        radices: the alphabet sizes of each codebook in the stream, which may be the first codebooks of the model.
        grid: size of the latent grid: (F,), (H, W) or (T, H, W).
        steps: positions along the first grid axis in one chunk; the last chunk may have fewer.
        groups: G, the number of groups of channels that are coded side by side: ceil(channels / n) for a codec of n
            channels, so 1 for a stereo signal and a stereo codec, 2 for a stereo signal and a mono codec.
        tables_digest: the first 4 bytes of the `digest` of the tables; None for raw codes of fixed length.
        quality_index: 0 to 255, for an entropy model that gives a table index per symbol; None for a table per symbol
            stream.
        stream_id: 3 bytes that distinguish this stream from others with the same header; all checksums cover them.
            `Writer` derives them from the first chunk.
        attachments: name (a value of `ATTACHMENTS`) and length in bytes of each attachment. `Writer` sets them.
        predicted: whether the frequencies are predicted from codes (`PredictedTables`).

    Raises:
        InputError: for values that the format cannot hold.
    """

    model: str
    fingerprint: bytes
    extent: Extent
    radices: Radices
    grid: tuple[int, ...]
    steps: int
    groups: int = 1
    tables_digest: bytes | None = None
    quality_index: int | None = None
    stream_id: bytes = bytes(STREAM_ID_BYTES)
    attachments: tuple[tuple[str, int], ...] = ()
    predicted: bool = False

    def __post_init__(self) -> None:
        if (
            not isinstance(self.model, str)
            or UNPRINTABLE.search(self.model)
            or not 1 <= len(self.model.encode()) <= MAX_NAME
        ):
            raise InputError(
                f"expected a model name of 1 to {MAX_NAME} bytes of printable text, got {shortened(self.model)}"
            )
        if not isinstance(self.fingerprint, bytes) or len(self.fingerprint) != FINGERPRINT_BYTES:
            raise InputError(
                f"expected a fingerprint of {FINGERPRINT_BYTES} bytes, got {shortened(self.fingerprint)}; use "
                "bytes.fromhex()"
            )
        if self.tables_digest is not None and len(self.tables_digest) != DIGEST_BYTES:
            raise InputError(
                f"expected tables_digest as digest[:{DIGEST_BYTES}] or None, got {len(self.tables_digest)} bytes"
            )
        if not isinstance(self.stream_id, bytes) or len(self.stream_id) != STREAM_ID_BYTES:
            raise InputError(f"expected a stream_id of {STREAM_ID_BYTES} bytes, got {shortened(self.stream_id)}")
        self._check_attachments()
        check_radices(self.radices)
        if self.quality_index is not None:
            self._check_indexed()
        if self.predicted and (self.tables_digest is None or self.quality_index is not None or self.extent.axes != 1):
            raise InputError(
                "expected predicted frequencies for a stream of audio with tables and without a quality_index, got "
                f"another of {self.extent.medium}"
            )
        check_integer(self.groups, MAX_CHANNELS, "groups")
        if len(self.grid) != self.extent.axes:
            raise InputError(
                f"expected a grid of {self.extent.axes} sizes for {self.extent.medium}, got {shortened(self.grid)}"
            )
        for size in self.grid:
            check_integer(size, MAX_COUNT, "a size of the grid")
        check_integer(self.steps, MAX_COUNT, "steps")
        if self.chunks > MAX_CHUNKS:
            raise InputError(f"expected at most {MAX_CHUNKS} chunks, got {self.chunks} with steps={self.steps}")
        symbols = len(alphabet_sizes(self.radices)) * self.positions(0)
        limit = MAX_SYMBOLS if self.quality_index is None else MAX_INDEXED_SYMBOLS
        if symbols > limit:
            raise InputError(f"expected chunks of at most {limit} digits, got {symbols} with steps={self.steps}")

    def __repr__(self) -> str:
        quality = "" if self.quality is None else f", quality {self.quality:g}"
        attached = "".join(f", with {name} ({length} bytes)" for name, length in self.attachments)
        return (
            f"StreamHeader({self.extent} by {self.model}, codes {self.shape}, {self.chunks} chunks, {self.coder}"
            f"{quality}{attached})"
        )

    def _check_attachments(self) -> None:
        names = [name for name, _ in self.attachments]
        if names != [name for name in ATTACHMENTS.values() if name in names]:
            raise InputError(
                f"expected attachments from {', '.join(ATTACHMENTS.values())}, in this order, got {shortened(names)}"
            )
        for name, length in self.attachments:
            check_integer(length, MAX_ATTACHMENT, f"bytes of the attachment {name}")

    def _check_indexed(self) -> None:
        if self.tables_digest is None or self.extent.axes == 1:
            raise InputError(
                f"expected no quality_index for a stream without tables or of {self.extent.medium}, "
                f"got {shortened(self.quality_index)}"
            )
        if (
            isinstance(self.quality_index, bool)
            or not isinstance(self.quality_index, int)
            or not 0 <= self.quality_index <= MAX_QUALITY_INDEX
        ):
            raise InputError(
                f"expected a quality_index from 0 to {MAX_QUALITY_INDEX}, got {shortened(self.quality_index)}"
            )
        if len(set(self.radices)) > 1 or len(self.radices[0]) > 1 or self.radices[0][0] % 2:
            raise InputError(
                f"expected one even alphabet size for all codebooks with a quality_index, got {shortened(self.radices)}"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (G, K, *grid) of all codes."""
        return (self.groups, len(self.radices), *self.grid)

    @property
    def dtype(self) -> "np.dtype[np.integer]":
        """The type of the codes in memory."""
        return np.dtype(np.int64 if self.quality_index is None else np.int16)

    @property
    def coder(self) -> str:
        """`rans`: a table per symbol stream; `indexed`, `predicted`: a table per symbol; `raw`: fixed length."""
        return ("raw", "rans", "indexed", "predicted")[self._coder]

    @property
    def _coder(self) -> int:
        if self.predicted:
            return PREDICTED
        return RAW if self.tables_digest is None else RANS if self.quality_index is None else INDEXED

    @property
    def quality(self) -> float | None:
        """The quality from 1 to 8, 1 for a model with only one; None without a quality_index."""
        return None if self.quality_index is None else 1 + self.quality_index / INDICES_PER_QUALITY

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Number of codes V of each codebook."""
        return codebook_sizes(self.radices)

    @property
    def chunks(self) -> int:
        """The number of chunks."""
        return -(-self.grid[0] // self.steps)

    def span(self, chunk: int) -> tuple[int, int]:
        """Start and stop of a chunk along the first grid axis."""
        return chunk * self.steps, min((chunk + 1) * self.steps, self.grid[0])

    def chunk_shape(self, chunk: int) -> tuple[int, ...]:
        """(G, K, steps of this chunk, *rest of the grid)."""
        start, stop = self.span(chunk)
        return (self.groups, len(self.radices), stop - start, *self.grid[1:])

    def positions(self, chunk: int) -> int:
        """Codes of one codebook in a chunk: G times the positions of the grid."""
        start, stop = self.span(chunk)
        return self.groups * (stop - start) * math.prod(self.grid[1:])

    def to_bytes(self) -> bytes:
        """The bytes of the header, with its CRC-32."""
        name = self.model.encode()
        medium = next(number for number, kind in EXTENTS.items() if type(self.extent) is kind)
        attached = dict(self.attachments)
        version = VERSION if SCALES in attached else 3 if self.predicted or TIMES in attached else PLAIN_VERSION
        kind = medium << 4 | self._coder | (HAS_ATTACHMENTS if self.attachments else 0)
        out = bytearray(MAGIC) + bytes([version, kind])
        out += self.stream_id + to_varint(len(name)) + name + self.fingerprint + (self.tables_digest or b"")
        out += b"".join(map(to_varint, astuple(self.extent)))
        out += to_varint(self.groups) + to_varint(len(self.radices))
        for digits, run in itertools.groupby(self.radices):
            out += to_varint(len(list(run))) + to_varint(len(digits))
            out += b"".join(to_varint(radix) for radix in digits)
        out += b"".join(to_varint(size) for size in self.grid) + to_varint(self.steps)
        out += b"" if self.quality_index is None else to_varint(self.quality_index)
        out += to_varint(len(self.attachments)) if self.attachments else b""
        numbers = {name: number for number, name in ATTACHMENTS.items()}
        for attachment, length in self.attachments:
            out += bytes([numbers[attachment]]) + to_varint(length)
        return bytes(out + zlib.crc32(out).to_bytes(CHECKSUM_BYTES, "little"))


def read_header(data: Bytes) -> StreamHeader:
    """The header at the beginning of `data`, which may be the whole stream or only the header.

    Raises:
        InputError: for anything else than bytes.
        StreamError: for data that are no stream.
        NewerStream: for a later version of the format.
        DamagedStream: for a header that is cut, fails its checksum or has values that no writer writes.
    """
    cursor = Cursor(byte_view(data, "the bytes of an .nrw stream"))
    magic = cursor.take(min(len(MAGIC), len(cursor.view)), "the magic number")
    if magic != MAGIC[: len(magic)]:
        raise StreamError(
            f"expected an .nrw stream, which begins with {MAGIC.hex(' ')}, got {magic.hex(' ')}; give a stream"
        )
    if len(magic) < len(MAGIC):
        raise DamagedStream(f"the stream ends after {len(magic)} bytes; get the whole file")
    version = cursor.take(1, "the header")[0]
    if version > VERSION:
        raise NewerStream(f"expected format version {VERSION} or older, got version {version}; update narrows")
    if version == 1:
        raise StreamError("expected format version 2 to 4, got version 1 of narrows 0.1; encode the signal again")
    if version == 0:
        raise DamagedStream(f"expected format version {VERSION}, got version 0; the header is damaged")
    try:
        header = _read_fields(cursor)
    except InputError as error:
        raise DamagedStream(f"the header is damaged: {error}; get an undamaged copy of the stream") from None
    found = zlib.crc32(cursor.view[: cursor.position])
    if cursor.take(CHECKSUM_BYTES, "the checksum of the header") != found.to_bytes(CHECKSUM_BYTES, "little"):
        raise DamagedStream("the header fails its checksum; get an undamaged copy of the stream")
    if header.to_bytes() != cursor.view[: cursor.position]:
        raise DamagedStream("the header is not in its only valid form; the stream is damaged")
    return header


def _read_fields(cursor: Cursor) -> StreamHeader:
    """The fields between version and checksum. Each count is compared with its limit before it is used."""
    medium, coder = divmod(cursor.take(1, "the header")[0], 16)
    attached, coder = divmod(coder, HAS_ATTACHMENTS)
    if medium not in EXTENTS or coder not in CODERS:
        raise DamagedStream(
            f"expected a known medium and coder, got medium {medium} and coder {coder}; the header is damaged"
        )
    stream_id = cursor.take(STREAM_ID_BYTES, "the stream id")
    name = cursor.take(cursor.varint(MAX_NAME, "the length of the model name"), "the model name")
    try:
        model = name.decode()
    except UnicodeDecodeError:
        raise DamagedStream(f"the model name {shortened(name)} is not UTF-8; the header is damaged") from None
    fingerprint = cursor.take(FINGERPRINT_BYTES, "the fingerprint of the model")
    digest = cursor.take(DIGEST_BYTES, "the digest of the tables") if coder != RAW else None
    extent = _read_extent(cursor, EXTENTS[medium])
    groups = cursor.varint(MAX_CHANNELS, "the number of groups")
    radices = _read_radices(cursor)
    grid = tuple(cursor.varint(MAX_COUNT, "a size of the grid") for _ in range(extent.axes))
    steps = cursor.varint(MAX_COUNT, "the steps of a chunk")
    quality_index = cursor.varint(MAX_QUALITY_INDEX, "the quality index") if coder == INDEXED else None
    attachments = _read_attachments(cursor) if attached else ()
    return StreamHeader(
        model,
        fingerprint,
        extent,
        radices,
        grid,
        steps,
        groups,
        digest,
        quality_index,
        stream_id,
        attachments,
        predicted=coder == PREDICTED,
    )


def _read_attachments(cursor: Cursor) -> tuple[tuple[str, int], ...]:
    """Name and length of each attachment."""
    attachments = []
    for _ in range(cursor.varint(len(ATTACHMENTS), "the number of attachments")):
        number = cursor.take(1, "the number of an attachment")[0]
        if number not in ATTACHMENTS:
            raise DamagedStream(f"expected a known attachment, got number {number}; the header is damaged")
        attachments.append((ATTACHMENTS[number], cursor.varint(MAX_ATTACHMENT, "the length of an attachment")))
    return tuple(attachments)


def _read_extent(cursor: Cursor, kind: type[Extent]) -> Extent:
    """The extent at the cursor. Raises DamagedStream for a number above its limit."""
    named = zip(fields(kind), kind.limits, strict=True)
    return kind(*[cursor.varint(limit, f"{field.name} of the {kind.medium}") for field, limit in named])


def _read_radices(cursor: Cursor) -> Radices:
    """Runs of equal codebooks: their number, the number of digits, the alphabet size of each digit."""
    codebooks = cursor.varint(MAX_CODEBOOKS, "the number of codebooks")
    radices: list[tuple[int, ...]] = []
    while len(radices) < codebooks:
        run = cursor.varint(codebooks - len(radices), "a run of equal codebooks")
        if run == 0:
            raise DamagedStream("the header holds a run of no codebooks; it is damaged")
        digits = cursor.varint(MAX_DIGITS, "the number of digits of a codebook")
        radices += [tuple(cursor.varint(MAX_ALPHABET, "an alphabet") for _ in range(digits))] * run
    return tuple(radices)
