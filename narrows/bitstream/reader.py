"""Reads a stream: single chunks, chunk by chunk, or all codes at once."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from narrows.bitstream.chunk_coder import Tables, make_chunk_coder
from narrows.bitstream.framing import Framing
from narrows.bitstream.header import StreamHeader, read_header
from narrows.bitstream.indexed import IndexedCoder
from narrows.bitstream.limits import MAX_BYTES_AT_ONCE
from narrows.errors import DamagedStream, InputError
from narrows.media.buffers import Bytes, byte_view


@dataclass(frozen=True)
class DecodedChunk:
    """The codes of one chunk.

    Attributes:
        index: index of the chunk.
        start, stop: the chunk holds the positions from start to stop - 1 of the first grid axis.
        codes: (G, K, stop - start, *rest of the grid) int64, or int16 with a table index per symbol.
        model_output: output that the entropy model computed from the codes, such as latents; None without such a model.
    """

    index: int
    start: int
    stop: int
    codes: NDArray[np.integer]
    model_output: Any = None


class Reader:
    """Reads an undamaged stream chunk by chunk.

        for chunk in Reader(data, tables):
            ...chunk.codes

    Args:
        data: the stream; it may be a memory-mapped file of any length.
        tables: tables of the model; ignored for a raw stream.

    Raises:
        StreamError: for data that are not a stream.
        NewerStream: for a later version of the format.
        WrongModel: for tables of another model.
        InputError: for missing tables.
        DamagedStream: for a damaged header, and if the last chunk does not end at the end of the data.
    """

    def __init__(self, data: Bytes, tables: Tables | None = None) -> None:
        self.header = read_header(data)
        self._view = byte_view(data, "the bytes of an .nrw stream")
        self._framing = Framing(self.header)
        self._coder = make_chunk_coder(self.header, tables)
        self._starts = self._framing.locate(self._view)

    def __len__(self) -> int:
        """The number of chunks."""
        return len(self._starts)

    def __iter__(self) -> Iterator[DecodedChunk]:
        return map(self.chunk, range(len(self)))

    def chunk(self, index: int) -> DecodedChunk:
        """Decodes one chunk alone. Position p of the first grid axis is in chunk p // header.steps.

        Raises DamagedStream if it is damaged, and InputError for an index outside 0 to len - 1.
        """
        payload = self._payload(index)
        start, stop = self.header.span(index)
        shape = self.header.chunk_shape(index)
        if isinstance(self._coder, IndexedCoder):
            return DecodedChunk(index, start, stop, *self._coder.decompress_with_output(payload, shape))
        return DecodedChunk(index, start, stop, self._coder.decompress(payload, shape))

    def attachments(self) -> dict[str, bytes]:
        """The attachments by name. Raises DamagedStream for one that fails its checksum."""
        intact = dict[str, bytes]()
        for name, payload in self._framing.attachments(self._view).items():
            if payload is None:
                raise DamagedStream(
                    f"the attachment {name} fails its checksum; use --recover (recover() in Python) for the rest"
                )
            intact[name] = payload
        return intact

    def verify(self) -> None:
        """Compare all checksums without decoding. Raises DamagedStream, which names the first damaged part."""
        self.attachments()
        for index in range(len(self)):
            self._payload(index)

    def _payload(self, index: int) -> bytes:
        if not 0 <= index < len(self):
            raise InputError(f"expected a chunk from 0 to {len(self) - 1}, got {index}")
        offsets = self._framing.parse(self._view, int(self._starts[index]), index)
        return self._framing.payload(self._view, offsets, index)


def read(data: Bytes, tables: Tables | None = None) -> NDArray[np.integer]:
    """Read all codes (G, K, *grid) of an undamaged stream. All checksums are compared before memory is allocated.

    Raises:
        InputError: for more than 2^29 bytes of codes, which a small stream may hold; use Reader.
        StreamError, InputError: as `Reader` raises them.
    """
    reader = Reader(data, tables)
    check_size(reader.header)
    reader.verify()
    codes = np.empty(reader.header.shape, reader.header.dtype)
    for chunk in reader:
        codes[:, :, chunk.start : chunk.stop] = chunk.codes
    return codes


def check_size(header: StreamHeader) -> None:
    """Raise InputError for more than 2^29 bytes of codes."""
    codes = math.prod(header.shape)
    if codes * header.dtype.itemsize > MAX_BYTES_AT_ONCE:
        limit = MAX_BYTES_AT_ONCE // header.dtype.itemsize
        raise InputError(f"expected at most {limit} codes to be read at once, got a stream of {codes}; use Reader")
