"""What is left of a damaged stream: which chunks are sound, and their codes.

A damaged header is beyond help. A damaged chunk costs its own codes only; where its length is what was damaged, the
chunks after it are found again by their checksums.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from narrows.bitstream.coder import make_coder
from narrows.bitstream.framing import Frame, Framing
from narrows.bitstream.frequency_tables import FrequencyTables
from narrows.bitstream.header import Bytes, StreamHeader, read_header
from narrows.bitstream.indexed import Prior
from narrows.bitstream.raw import UNKNOWN, RawCoder
from narrows.bitstream.reader import check_size
from narrows.errors import DamagedStream, InputError

AHEAD = 16  # chunks in a row that may be lost before the search gives up
BUDGET = 2**30  # bytes that the search in one file may hash: seconds, however hostile the file
TRY = 2**12  # bytes: what a try at one place costs, however short the chunk would be


@dataclass(frozen=True)
class Damage:
    """Neighbouring chunks first .. last that are damaged: the positions start .. stop-1 of the first grid axis."""

    first: int
    last: int
    start: int
    stop: int


@dataclass(frozen=True)
class Recovered:
    """Codes (C, K, *grid) int64, -1 where they are lost, and where that is: empty for an undamaged stream.

    To hold the last good position instead:

        for span in recovered.damaged:
            codes[:, :, span.start : span.stop] = codes[:, :, span.start - 1 : span.start] if span.start else 0
    """

    header: StreamHeader
    codes: NDArray[np.integer]
    damaged: tuple[Damage, ...]


@dataclass(frozen=True)
class Inspection:
    """What can be said about a stream without its model. The four byte counts sum to the length of the file."""

    header: StreamHeader
    damaged: tuple[Damage, ...]
    header_bytes: int
    framing_bytes: int  # lengths and checksums of the sound chunks
    payload_bytes: int  # of the sound chunks
    damaged_bytes: int  # all others; above 0 with no chunk damaged: something was appended to the file

    @property
    def sound(self) -> bool:
        """Whether the stream is exactly as it was written."""
        return not self.damaged and not self.damaged_bytes


def inspect(data: Bytes) -> Inspection:
    """Sizes and damage of a stream; needs no tables and decodes nothing.

    Raises StreamError where `data` is no stream, NewerStream for a later version, DamagedStream for a damaged header.
    """
    header = read_header(data)
    view = memoryview(data).cast("B")
    framing = Framing(header)
    intact: list[int] = []
    framed = payload = 0
    for chunk, frame in search(framing, view):
        intact.append(chunk)
        framed += frame.payload - frame.start
        payload += frame.stop - frame.payload
    rest = len(view) - framing.size - framed - payload
    return Inspection(header, _damages(header, intact), framing.size, framed, payload, rest)


def recover(data: Bytes, tables: FrequencyTables | Prior | None = None, keep: bool = False) -> Recovered:
    """All codes that a damaged stream still holds, and where the others are.

    `keep` returns the damaged chunks of a raw stream as they arrived (a code outside its codebook is -1), for those who
    would rather conceal single bits themselves; a raw chunk that is cut short is lost all the same.
    Raises what `Reader` raises for header and tables, InputError for `keep` on an entropy-coded stream, where one bit
    changes all codes after it, and DamagedStream where no chunk is left.
    """
    header = read_header(data)
    coder = make_coder(header, tables)
    if keep and not isinstance(coder, RawCoder):
        raise InputError("keep=True is for raw streams; one wrong bit of an entropy-coded chunk spoils all of it")
    check_size(header)
    view = memoryview(data).cast("B")
    framing = Framing(header)
    codes: NDArray[np.integer] | None = None  # allocated once there is something to put into it
    intact: list[int] = []
    for chunk, frame in _raw_frames(framing, view) if keep else search(framing, view):
        if codes is None:
            codes = np.full(header.shape, UNKNOWN, header.dtype)
        start, stop = header.span(chunk)
        payload, shape = bytes(view[frame.payload : frame.stop]), header.chunk_shape(chunk)
        try:
            if framing.match(view, frame, range(chunk, chunk + 1)) is not None:
                codes[:, :, start:stop] = coder.decompress(payload, shape)
                intact.append(chunk)
                continue
        except DamagedStream:  # a checksum that is right by chance or by intent
            pass
        if keep and isinstance(coder, RawCoder):
            codes[:, :, start:stop] = coder.salvage(payload, shape)
    if codes is None:
        raise DamagedStream(f"none of {header.chunks} chunks is whole; nothing can be recovered, get another copy")
    return Recovered(header, codes, _damages(header, intact))


def search(framing: Framing, view: memoryview) -> Iterator[tuple[int, Frame]]:
    """The sound chunks of a stream with their indices, in order.

    Raw chunks lie where the header says. The others are followed by their lengths; where that breaks off, first by
    the lengths of damaged chunks, then at every later byte, a chunk is looked for that one of the next 16 may be.
    """
    if framing.raw:
        for chunk, frame in _raw_frames(framing, view):
            if framing.match(view, frame, range(chunk, chunk + 1)) is not None:
                yield chunk, frame
        return
    position, chunk, budget = framing.size, 0, BUDGET
    while chunk < framing.header.chunks:
        for start in _candidates(framing, view, position, chunk):
            ahead = range(chunk, min(chunk + AHEAD, framing.header.chunks))
            found = _frame(framing, view, start, chunk)
            match = framing.match(view, found, ahead) if found else None
            if found and match is not None:
                yield match, found
                position, chunk = found.stop, match + 1
                break
            budget -= TRY + (found.stop - found.start if found else 0)
            if budget <= 0:
                return
        else:
            return


def _candidates(framing: Framing, view: memoryview, position: int, chunk: int) -> Iterator[int]:
    """Where to look for the next sound chunk: here, then where the lengths lead, then at every byte after this."""
    yield position
    hop: int = position
    for index in range(chunk, min(chunk + AHEAD, framing.header.chunks)):
        frame = _frame(framing, view, hop, index)
        if frame is None:
            break
        hop = frame.stop
        yield hop
    yield from range(position + 1, len(view))


def _frame(framing: Framing, view: memoryview, start: int, chunk: int) -> Frame | None:
    try:
        return framing.frame(view, start, chunk)
    except DamagedStream:
        return None


def _raw_frames(framing: Framing, view: memoryview) -> Iterator[tuple[int, Frame]]:
    """The chunks of a raw stream that are there in full length, damaged or not."""
    position = framing.size
    for chunk in range(framing.header.chunks):
        frame = _frame(framing, view, position, chunk)
        if frame is None:
            return
        yield chunk, frame
        position = frame.stop


def _damages(header: StreamHeader, intact: list[int]) -> tuple[Damage, ...]:
    """The gaps between the intact chunks, which are in order."""
    gaps = []
    after = 0
    for chunk in [*intact, header.chunks]:
        if chunk > after:
            gaps.append(Damage(after, chunk - 1, header.span(after)[0], header.span(chunk - 1)[1]))
        after = chunk + 1
    return tuple(gaps)
