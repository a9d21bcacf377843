"""Chunks among the bytes of a stream: where each begins, and whether it is what the writer wrote.

    coder 1   length (varint) · CRC-32 · payload
    coder 0                     CRC-32 · payload     the length follows from the header, so no flipped bit can hide it

The CRC runs on from the header's bytes over length, payload and index: a chunk at another place, or of another file,
fails it like a damaged one.
"""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from narrows.bitstream.header import CHECKSUM, StreamHeader
from narrows.bitstream.radices import stream_sizes
from narrows.bitstream.rans import payload_limit
from narrows.bitstream.raw import RawCoder
from narrows.bitstream.varint import Cursor, to_varint
from narrows.errors import DamagedStream


@dataclass(frozen=True)
class Frame:
    """One chunk as it lies in the file: offsets of its first byte, of its payload and of the byte after it."""

    start: int
    payload: int
    stop: int


class Framing:
    """How the chunks of the stream with this header are framed."""

    def __init__(self, header: StreamHeader) -> None:
        self.header = header
        self.size = len(header.to_bytes())  # where the first chunk begins
        self._seed = zlib.crc32(header.to_bytes()[:-CHECKSUM])
        self.raw = RawCoder(header.radices) if header.tables_digest is None else None
        self._coded = sum(size > 1 for size in stream_sizes(header.radices))

    def wrap(self, chunk: int, payload: bytes) -> bytes:
        """The bytes of a chunk."""
        length = b"" if self.raw else to_varint(len(payload))
        checksum = _with_index(self._hash(length, payload), chunk)
        return length + checksum.to_bytes(CHECKSUM, "little") + payload

    def frame(self, view: memoryview, start: int, chunk: int) -> Frame:
        """The chunk that begins at `start`. Raises DamagedStream where it cannot be there; its CRC is not looked at."""
        cursor = Cursor(view, start)
        what = f"chunk {chunk} of {self.header.chunks}"
        positions = self.header.positions(chunk)
        if self.raw:
            length = self.raw.payload_size(positions)
        else:
            most = self._coded * positions * (1 if self.header.quality_index is None else 2)  # escapes
            length = cursor.varint(payload_limit(most), f"the length of {what}")
        payload = cursor.position + CHECKSUM
        if payload + length > len(view):
            raise DamagedStream(f"the stream ends inside {what}; recover() decodes what is left")
        return Frame(start, payload, payload + length)

    def match(self, view: memoryview, frame: Frame, chunks: range) -> int | None:
        """Which of these chunks a frame is by its checksum; None if it is none of them."""
        middle = frame.payload - CHECKSUM
        stored = int.from_bytes(view[middle : frame.payload], "little")
        crc = self._hash(view[frame.start : middle], view[frame.payload : frame.stop])
        return next((chunk for chunk in chunks if _with_index(crc, chunk) == stored), None)

    def payload(self, view: memoryview, frame: Frame, chunk: int) -> bytes:
        """The payload of a chunk. Raises DamagedStream where it fails its checksum."""
        if self.match(view, frame, range(chunk, chunk + 1)) is None:
            start, stop = self.header.span(chunk)
            where = f"chunk {chunk} of {self.header.chunks} (grid steps {start} to {stop - 1})"
            raise DamagedStream(f"{where} fails its checksum; recover() decodes the others")
        return bytes(view[frame.payload : frame.stop])

    def locate(self, view: memoryview) -> NDArray[np.int64]:
        """Where each chunk of an undamaged stream begins (chunks,). Only the lengths are read.

        Raises DamagedStream unless the last chunk ends where the file does.
        """
        room = (len(view) - self.size) // (CHECKSUM + (0 if self.raw else 1))
        if self.header.chunks > room:
            raise DamagedStream(
                f"the header promises {self.header.chunks} chunks, at most {room} fit into the bytes that are there; "
                "recover() decodes what is left"
            )
        starts = np.empty(self.header.chunks, np.int64)
        position = self.size
        for chunk in range(len(starts)):
            starts[chunk] = position
            position = self.frame(view, position, chunk).stop
        if position != len(view):
            left = len(view) - position
            raise DamagedStream(
                f"{left} bytes follow the last chunk: a length is damaged, or they were appended; get another copy"
            )
        return starts

    def _hash(self, length: bytes | memoryview, payload: bytes | memoryview) -> int:
        return zlib.crc32(payload, zlib.crc32(length, self._seed))


def _with_index(crc: int, chunk: int) -> int:
    return zlib.crc32(chunk.to_bytes(4, "little"), crc)
