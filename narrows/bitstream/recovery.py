"""Recovers damaged streams: finds the intact chunks and decodes them.

A stream with a damaged header cannot be recovered. A damaged chunk loses only its own codes; if its length is damaged,
the chunks after it are found by their checksums.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from narrows.bitstream.chunk_coder import Tables, make_chunk_coder
from narrows.bitstream.framing import ChunkOffsets, Framing
from narrows.bitstream.header import CHECKSUM_BYTES, StreamHeader, read_header
from narrows.bitstream.raw import LOST_CODE, RawCoder
from narrows.bitstream.reader import check_size
from narrows.errors import DamagedStream, InputError
from narrows.media.buffers import Bytes, byte_view

MAX_LOST = 16  # consecutive lost chunks after which the search ends
MAX_HASHED = 2**30  # bytes that the search in one stream may hash; bounds its time to seconds for any data
MIN_COST = 2**12  # smallest number of bytes that a try at one offset counts for


@dataclass(frozen=True)
class Damage:
    """Consecutive damaged chunks.

    Attributes:
        first, last: indices of the chunks.
        start, stop: their positions on the first grid axis, from start to stop - 1.
    """

    first: int
    last: int
    start: int
    stop: int


@dataclass(frozen=True)
class Recovered:
    """The codes of a damaged stream.

    Attributes:
        header: header of the stream.
        codes: (G, K, *grid), -1 where they are lost.
        damaged: the damaged chunks, whose codes are lost; empty for an undamaged stream.
        attachments: the attachments by name; None for a damaged one.

    To repeat the last intact position instead:

        for span in recovered.damaged:
            codes[:, :, span.start : span.stop] = codes[:, :, span.start - 1 : span.start] if span.start else 0
    """

    header: StreamHeader
    codes: NDArray[np.integer]
    damaged: tuple[Damage, ...]
    attachments: dict[str, bytes | None]


@dataclass(frozen=True)
class Inspection:
    """Sizes and damage of a stream. The five byte counts sum to its length.

    Attributes:
        header: header of the stream.
        damaged: the damaged chunks.
        damaged_attachments: names of the damaged attachments.
        header_bytes: size of the header.
        attachment_bytes: the intact attachments with their checksums.
        framing_bytes: lengths and checksums of the intact chunks.
        payload_bytes: payloads of the intact chunks.
        damaged_bytes: all other bytes. If no chunk is damaged, they were appended to the stream.
    """

    header: StreamHeader
    damaged: tuple[Damage, ...]
    damaged_attachments: tuple[str, ...]
    header_bytes: int
    attachment_bytes: int
    framing_bytes: int
    payload_bytes: int
    damaged_bytes: int

    @property
    def intact(self) -> bool:
        """Whether the stream is undamaged and nothing was appended."""
        return not self.damaged and not self.damaged_attachments and not self.damaged_bytes


def inspect(data: Bytes) -> Inspection:
    """Find sizes and damage of a stream without decoding it; no tables are needed.

    Raises:
        StreamError: for data that are not a stream.
        NewerStream: for a later version of the format.
        DamagedStream: for a damaged header.
    """
    header = read_header(data)
    view = byte_view(data, "the bytes of an .nrw stream")
    framing = Framing(header)
    intact: list[int] = []
    framing_bytes = payload_bytes = 0
    for chunk, offsets in find_chunks(framing, view):
        intact.append(chunk)
        framing_bytes += offsets.payload - offsets.start
        payload_bytes += offsets.stop - offsets.payload
    attachments = framing.attachments(view)
    lost = tuple(name for name, payload in attachments.items() if payload is None)
    attached = sum(CHECKSUM_BYTES + len(payload) for payload in attachments.values() if payload is not None)
    rest = len(view) - framing.header_bytes - attached - framing_bytes - payload_bytes
    return Inspection(
        header,
        _damages(header, intact),
        lost,
        framing.header_bytes,
        attached,
        framing_bytes,
        payload_bytes,
        rest,
    )


def recover(data: Bytes, tables: Tables | None = None, keep_damaged: bool = False) -> Recovered:
    """Decode the intact chunks of a stream.

    Args:
        data: the stream.
        tables: tables of the model; ignored for a raw stream.
        keep_damaged: return the codes of damaged chunks of a raw stream too, wrong ones included, for error concealment
            by the caller; a code outside its codebook is -1. A raw chunk that is cut short is lost.

    Raises:
        StreamError, NewerStream, WrongModel, InputError: for header and tables, as `Reader` raises them.
        InputError: for `keep_damaged` with an entropy-coded stream, where a wrong bit changes all codes after it.
        DamagedStream: if no chunk is intact.
    """
    header = read_header(data)
    coder = make_chunk_coder(header, tables)
    if keep_damaged and not isinstance(coder, RawCoder):
        raise InputError(
            f"expected a raw stream for keep_damaged=True, got one of coder {header.coder!r}; leave it out"
        )
    check_size(header)
    view = byte_view(data, "the bytes of an .nrw stream")
    framing = Framing(header)
    codes: NDArray[np.integer] | None = None  # allocated at the first chunk
    intact: list[int] = []
    for chunk, offsets in _raw_chunks(framing, view) if keep_damaged else find_chunks(framing, view):
        if codes is None:
            codes = np.full(header.shape, LOST_CODE, header.dtype)
        start, stop = header.span(chunk)
        payload, shape = bytes(view[offsets.payload : offsets.stop]), header.chunk_shape(chunk)
        try:
            if framing.match(view, offsets, range(chunk, chunk + 1)) is not None:
                codes[:, :, start:stop] = coder.decompress(payload, shape)
                intact.append(chunk)
                continue
        except DamagedStream:  # the checksum is right by chance or intent
            pass
        if keep_damaged and isinstance(coder, RawCoder):
            codes[:, :, start:stop] = coder.salvage(payload, shape)
    if codes is None or not (intact or keep_damaged):
        raise DamagedStream(f"none of {header.chunks} chunks is intact; get another copy")
    return Recovered(header, codes, _damages(header, intact), framing.attachments(view))


def find_chunks(framing: Framing, view: memoryview) -> Iterator[tuple[int, ChunkOffsets]]:
    """Find the intact chunks of a stream; yields index and offsets of each, in order.

    The offsets of raw chunks follow from the header. Otherwise each length leads to the next chunk. After a chunk that
    is not intact, one of the next 16 chunks is searched for: first at the offsets to which the lengths lead, then at
    every later byte.
    """
    if framing.raw:
        for chunk, offsets in _raw_chunks(framing, view):
            if framing.match(view, offsets, range(chunk, chunk + 1)) is not None:
                yield chunk, offsets
        return
    position, chunk, budget = framing.first_chunk, 0, MAX_HASHED
    while chunk < framing.header.chunks:
        for start in _candidates(framing, view, position, chunk):
            ahead = range(chunk, min(chunk + MAX_LOST, framing.header.chunks))
            found = _parse(framing, view, start, chunk)
            match = framing.match(view, found, ahead) if found else None
            if found and match is not None:
                yield match, found
                position, chunk = found.stop, match + 1
                break
            budget -= MIN_COST + (found.stop - found.start if found else 0)
            if budget <= 0:
                return
        else:
            return


def _candidates(framing: Framing, view: memoryview, position: int, chunk: int) -> Iterator[int]:
    """Offsets where the next intact chunk may be: `position`, offsets to which the lengths lead, all later bytes."""
    yield position
    next_start: int = position
    for index in range(chunk, min(chunk + MAX_LOST, framing.header.chunks)):
        offsets = _parse(framing, view, next_start, index)
        if offsets is None:
            break
        next_start = offsets.stop
        yield next_start
    yield from range(framing.header_bytes if chunk == 0 else position + 1, len(view))


def _parse(framing: Framing, view: memoryview, start: int, chunk: int) -> ChunkOffsets | None:
    try:
        return framing.parse(view, start, chunk)
    except DamagedStream:
        return None


def _raw_chunks(framing: Framing, view: memoryview) -> Iterator[tuple[int, ChunkOffsets]]:
    """Index and offsets of the chunks of a raw stream that have their full length, damaged or not."""
    position = framing.first_chunk
    for chunk in range(framing.header.chunks):
        offsets = _parse(framing, view, position, chunk)
        if offsets is None:
            return
        yield chunk, offsets
        position = offsets.stop


def _damages(header: StreamHeader, intact: list[int]) -> tuple[Damage, ...]:
    """The gaps between the intact chunks, which are in order."""
    gaps = []
    expected = 0
    for chunk in [*intact, header.chunks]:
        if chunk > expected:
            gaps.append(Damage(expected, chunk - 1, header.span(expected)[0], header.span(chunk - 1)[1]))
        expected = chunk + 1
    return tuple(gaps)
