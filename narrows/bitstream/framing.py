"""Attachments and chunks in the bytes of a stream: their offsets and checksums.

    header · attachments · chunks

    attachment                     CRC-32 · payload     the length is in the header
    chunk, coder 1-3    length (varint) · CRC-32 · payload
    chunk, coder 0                        CRC-32 · payload     the length follows from the header

The CRC covers the bytes of the header, which has an id of the stream, the length, the payload and the index of the
chunk: a chunk that was moved, or that belongs to another stream, fails the check like a damaged chunk.
"""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from narrows.bitstream.header import ATTACHMENTS, CHECKSUM_BYTES, StreamHeader
from narrows.bitstream.limits import MAX_DIGITS
from narrows.bitstream.radices import alphabet_sizes
from narrows.bitstream.rans import payload_limit
from narrows.bitstream.raw import RawCoder
from narrows.bitstream.varint import Cursor, to_varint
from narrows.errors import DamagedStream


@dataclass(frozen=True)
class ChunkOffsets:
    """Offsets of a chunk in the stream: its first byte, the first byte of its payload, and the byte after the chunk."""

    start: int
    payload: int
    stop: int


class Framing:
    """Writes and reads the lengths and checksums of the chunks of a stream with this header."""

    def __init__(self, header: StreamHeader) -> None:
        self.header = header
        self.header_bytes = len(header.to_bytes())
        attached = sum(CHECKSUM_BYTES + length for _, length in header.attachments)
        self.first_chunk = self.header_bytes + attached  # offset
        self._seed = zlib.crc32(header.to_bytes()[:-CHECKSUM_BYTES])
        self.raw = RawCoder(header.radices) if header.tables_digest is None else None
        self._max_symbols = _max_symbols(header)

    @property
    def _advice(self) -> str:
        """What to do about a damaged chunk."""
        if self.header.chunks == 1:
            return "get an undamaged copy, since it is the only chunk"
        return "use --recover (recover() in Python) for the others"

    def wrap(self, chunk: int, payload: bytes) -> bytes:
        """The bytes of a chunk: length, checksum and payload."""
        length = b"" if self.raw else to_varint(len(payload))
        checksum = _with_index(self._hash(length, payload), chunk)
        return length + checksum.to_bytes(CHECKSUM_BYTES, "little") + payload

    def wrap_attachment(self, name: str, payload: bytes) -> bytes:
        """The bytes of an attachment: checksum and payload."""
        return self._attachment_checksum(name, payload).to_bytes(CHECKSUM_BYTES, "little") + payload

    def attachments(self, view: memoryview) -> dict[str, bytes | None]:
        """The payload of each attachment by its name; None if it is damaged or cut short."""
        payloads, position = dict[str, bytes | None](), self.header_bytes
        for name, length in self.header.attachments:
            payload = view[position + CHECKSUM_BYTES : position + CHECKSUM_BYTES + length]
            stored = int.from_bytes(view[position : position + CHECKSUM_BYTES], "little")
            intact = len(payload) == length and self._attachment_checksum(name, payload) == stored
            payloads[name] = bytes(payload) if intact else None
            position += CHECKSUM_BYTES + length
        return payloads

    def parse(self, view: memoryview, start: int, chunk: int) -> ChunkOffsets:
        """The offsets of the chunk that begins at `start`; its checksum is not compared.

        Raises DamagedStream if the chunk cannot be there.
        """
        cursor = Cursor(view, start)
        what = f"chunk {chunk} of {self.header.chunks}"
        positions = self.header.positions(chunk)
        if self.raw:
            length = self.raw.payload_size(positions)
        else:
            length = cursor.varint(payload_limit(self._max_symbols * positions), f"the length of {what}")
        payload = cursor.position + CHECKSUM_BYTES
        if payload + length > len(view):
            raise DamagedStream(f"the stream ends inside {what}; {self._advice}")
        return ChunkOffsets(start, payload, payload + length)

    def match(self, view: memoryview, offsets: ChunkOffsets, chunks: range) -> int | None:
        """The index in `chunks` for which the checksum of the chunk at these offsets is right; None if none is."""
        length_end = offsets.payload - CHECKSUM_BYTES
        stored = int.from_bytes(view[length_end : offsets.payload], "little")
        crc = self._hash(view[offsets.start : length_end], view[offsets.payload : offsets.stop])
        return next((chunk for chunk in chunks if _with_index(crc, chunk) == stored), None)

    def payload(self, view: memoryview, offsets: ChunkOffsets, chunk: int) -> bytes:
        """The payload of a chunk. Raises DamagedStream if it fails its checksum."""
        if self.match(view, offsets, range(chunk, chunk + 1)) is None:
            start, stop = self.header.span(chunk)
            where = f"chunk {chunk} of {self.header.chunks} (grid steps {start} to {stop - 1})"
            raise DamagedStream(f"{where} fails its checksum; {self._advice}")
        return bytes(view[offsets.payload : offsets.stop])

    def locate(self, view: memoryview) -> NDArray[np.int64]:
        """The offsets (chunks,) of the chunks of an undamaged stream. Only the lengths are read.

        Raises DamagedStream unless the last chunk ends at the end of the stream.
        """
        limit = max(0, len(view) - self.first_chunk) // (CHECKSUM_BYTES + (0 if self.raw else 1))
        if self.header.chunks > limit:
            raise DamagedStream(
                f"expected {self.header.chunks} chunks, got a stream that is too short for more than {limit}; "
                f"{self._advice}"
            )
        starts = np.empty(self.header.chunks, np.int64)
        position = self.first_chunk
        for chunk in range(len(starts)):
            starts[chunk] = position
            position = self.parse(view, position, chunk).stop
        if position != len(view):
            raise DamagedStream(
                f"expected the stream to end with its last chunk, got {len(view) - position} more bytes: a length is "
                "damaged, or they were appended; get another copy"
            )
        return starts

    def _attachment_checksum(self, name: str, payload: bytes | memoryview) -> int:
        number = next(number for number, known in ATTACHMENTS.items() if known == name)
        return zlib.crc32(bytes([number]), zlib.crc32(payload, self._seed))

    def _hash(self, length: bytes | memoryview, payload: bytes | memoryview) -> int:
        return zlib.crc32(payload, zlib.crc32(length, self._seed))


def _max_symbols(header: StreamHeader) -> int:
    """The largest number of coded symbols at one position."""
    if header.predicted:  # only the tables know the digits
        return MAX_DIGITS * len(header.radices)
    streams = sum(size > 1 for size in alphabet_sizes(header.radices))
    return streams if header.quality_index is None else 2 * streams  # an escaped code is a second symbol


def _with_index(crc: int, chunk: int) -> int:
    return zlib.crc32(chunk.to_bytes(4, "little"), crc)
