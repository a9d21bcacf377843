"""Writes a stream incrementally: only one chunk is in memory at a time, however long the stream is."""

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from narrows.bitstream.chunk_coder import Tables, make_chunk_coder
from narrows.bitstream.framing import Framing
from narrows.bitstream.header import ATTACHMENTS, STREAM_ID_BYTES, StreamHeader
from narrows.bitstream.radices import check_codes
from narrows.errors import InputError, WrongModel, shortened


class Writer:
    """Writes a stream with a given header.

        writer = Writer(header, tables)
        for codes in parts:                  # (G, K, any number of steps, *rest of the grid)
            file.write(writer.push(codes))
        writer.finish()                      # checks that no steps are missing

    Args:
        header: header of the stream. The writer sets its `stream_id`, unless that is not zero, and its `attachments`.
        tables: tables of the model; None for a raw stream.
        attachments: bytes by the name of the attachment, a value of `header.ATTACHMENTS`.

    Attributes:
        header: header of the stream; complete when the first chunk is.

    Raises:
        InputError: for tables that differ from those in the header, and for unknown or empty attachments.
    """

    def __init__(
        self,
        header: StreamHeader,
        tables: Tables | None = None,
        attachments: Mapping[str, bytes] = MappingProxyType({}),
    ) -> None:
        if header.tables_digest is None and tables is not None:
            raise InputError(
                "expected no tables for a raw stream, got some; set tables_digest=tables.digest[:4] in the header"
            )
        try:
            self._coder = make_chunk_coder(header, tables)
        except WrongModel as error:
            raise InputError(str(error)) from None
        unknown = sorted(set(attachments) - set(ATTACHMENTS.values()))
        if unknown:
            raise InputError(f"expected attachments from {', '.join(ATTACHMENTS.values())}, got {shortened(unknown)}")
        for name, payload in attachments.items():
            if not isinstance(payload, bytes) or not payload:
                found = "no bytes" if payload == b"" else f"an object of type {type(payload).__name__}"
                raise InputError(f"expected the attachment {name} as one byte or more, got {found}; leave it out")
        self._attachments = {name: attachments[name] for name in ATTACHMENTS.values() if name in attachments}
        self.header = replace(header, attachments=tuple((n, len(data)) for n, data in self._attachments.items()))
        self._framing: Framing | None = None  # made with the first chunk
        self._buffer = np.empty(header.chunk_shape(0), header.dtype)
        self._pushed = 0  # steps

    def push(self, codes: NDArray[np.integer]) -> bytes:
        """Add codes (G, K, n, *rest of the grid), n >= 1; return the bytes of the chunks that they complete, or b"".

        Raises InputError for a wrong shape, a code outside its codebook or more steps than the header states. The
        writer is then unchanged.
        """
        check_codes(codes, self.header.radices)
        expected = (self.header.groups, len(self.header.radices), codes.shape[2], *self.header.grid[1:])
        if codes.shape != expected:
            raise InputError(f"expected codes {expected} for a stream of {self.header.shape}, got shape {codes.shape}")
        end = self._pushed + codes.shape[2]
        if end > self.header.grid[0]:
            raise InputError(f"expected {self.header.grid[0]} grid steps, as the header says, got {end}")
        out = []
        while codes.shape[2]:
            chunk, filled = divmod(self._pushed, self.header.steps)
            start, stop = self.header.span(chunk)
            part, codes = np.split(codes, [stop - start - filled], axis=2)
            filled += part.shape[2]
            self._buffer[:, :, filled - part.shape[2] : filled] = part
            self._pushed += part.shape[2]
            if self._pushed == stop:
                out.append(self._wrapped(chunk, self._coder.compress(self._buffer[:, :, :filled])))
        return b"".join(out)

    def push_payload(self, payload: bytes) -> bytes:
        """Add the next chunk as its payload, which a coder of the same header made; return its bytes.

        Only whole chunks may have been pushed. Raises InputError for more chunks than the header states.
        """
        chunk, filled = divmod(self._pushed, self.header.steps)
        if filled or chunk >= self.header.chunks:
            raise InputError(f"expected {self.header.chunks} whole chunks, got the payload of chunk {chunk + 1}")
        self._pushed = self.header.span(chunk)[1]
        return self._wrapped(chunk, payload)

    def _wrapped(self, chunk: int, payload: bytes) -> bytes:
        """The bytes of a chunk; before the first one, those of the header and of the attachments."""
        out = list[bytes]()
        if self._framing is None:
            self._framing = self._begin(payload)
            out.append(self.header.to_bytes())
            out += [self._framing.wrap_attachment(*item) for item in self._attachments.items()]
        out.append(self._framing.wrap(chunk, payload))
        return b"".join(out)

    def _begin(self, payload: bytes) -> Framing:
        """Complete the header with an id made from the first payload."""
        if not any(self.header.stream_id):
            stream_id = zlib.crc32(payload).to_bytes(4, "little")[:STREAM_ID_BYTES]
            self.header = replace(self.header, stream_id=stream_id)
        return Framing(self.header)

    def finish(self) -> None:
        """Raise InputError unless the stream is complete: all steps of the header were pushed."""
        if self._pushed < self.header.grid[0]:
            raise InputError(f"expected {self.header.grid[0]} grid steps, got {self._pushed}; push the rest")


def write(
    header: StreamHeader,
    codes: NDArray[np.integer],
    tables: Tables | None = None,
    attachments: Mapping[str, bytes] = MappingProxyType({}),
) -> bytes:
    """Write codes (G, K, *grid) as a whole stream. Raises InputError as `Writer` and its `push` do."""
    if codes.shape != header.shape:
        raise InputError(f"expected codes {header.shape}, as the header says, got shape {codes.shape}")
    writer = Writer(header, tables, attachments)
    data = writer.push(codes)
    writer.finish()
    return data


def join(
    header: StreamHeader,
    payloads: Iterable[bytes],
    tables: Tables,
    attachments: Mapping[str, bytes] = MappingProxyType({}),
) -> bytes:
    """A whole stream of the payloads of its chunks in order. Raises InputError as `Writer` does."""
    writer = Writer(header, tables, attachments)
    data = b"".join([writer.push_payload(payload) for payload in payloads])
    writer.finish()
    return data
