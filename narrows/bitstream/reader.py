"""A stream to codes: any chunk on its own, chunk by chunk, or all at once."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from narrows.bitstream.coder import make_coder
from narrows.bitstream.framing import Framing
from narrows.bitstream.frequency_tables import FrequencyTables
from narrows.bitstream.header import Bytes, StreamHeader, read_header
from narrows.bitstream.indexed import IndexedCoder, Prior
from narrows.bitstream.limits import MAX_BYTES_AT_ONCE
from narrows.errors import InputError


@dataclass(frozen=True)
class Chunk:
    """Codes (C, K, stop - start, *rest of the grid): the positions start .. stop-1 of the first grid axis.

    int64, or int16 where tables are chosen. made: what the model that chose them made of the codes on the way.
    """

    index: int
    start: int
    stop: int
    codes: NDArray[np.integer]
    made: Any = None


class Reader:
    """Reads an undamaged stream; `data` may be a memory-mapped file of any length.

        for chunk in Reader(data, tables):
            ...chunk.codes

    Raises StreamError where `data` is no stream, NewerStream for a later version, WrongModel for other tables,
    InputError where a stream needs tables and none are given, and DamagedStream for a damaged header or chunks that
    do not end where the file does. FrequencyTables given for a raw stream are not looked at.
    """

    def __init__(self, data: Bytes, tables: FrequencyTables | Prior | None = None) -> None:
        self.header = read_header(data)
        self._view = memoryview(data).cast("B")
        self._framing = Framing(self.header)
        self._coder = make_coder(self.header, tables)
        self._starts = self._framing.locate(self._view)

    def __len__(self) -> int:
        """The number of chunks."""
        return len(self._starts)

    def __iter__(self) -> Iterator[Chunk]:
        return map(self.chunk, range(len(self)))

    def chunk(self, index: int) -> Chunk:
        """Decodes one chunk, and touches no other. Position p of the first grid axis is in chunk p // header.steps.

        Raises DamagedStream if its bytes were changed, and InputError for an index outside 0 .. len - 1.
        """
        payload = self._payload(index)
        start, stop = self.header.span(index)
        shape = self.header.chunk_shape(index)
        if isinstance(self._coder, IndexedCoder):
            return Chunk(index, start, stop, *self._coder.decompress_with(payload, shape))
        return Chunk(index, start, stop, self._coder.decompress(payload, shape))

    def verify(self) -> None:
        """Compares all checksums, without decoding. Raises DamagedStream that names the first damaged chunk."""
        for index in range(len(self)):
            self._payload(index)

    def _payload(self, index: int) -> bytes:
        if not 0 <= index < len(self):
            raise InputError(f"chunk {index} was asked for, the stream has chunks 0 to {len(self) - 1}")
        frame = self._framing.frame(self._view, int(self._starts[index]), index)
        return self._framing.payload(self._view, frame, index)


def read(data: Bytes, tables: FrequencyTables | Prior | None = None) -> NDArray[np.integer]:
    """All codes of an undamaged stream, (C, K, *grid).

    Raises what `Reader` raises; nothing is allocated before all checksums are right. More than 2^29 bytes of
    codes are an InputError, as a small file may hold very many: take them chunk by chunk.
    """
    reader = Reader(data, tables)
    check_size(reader.header)
    reader.verify()
    codes = np.empty(reader.header.shape, reader.header.dtype)
    for chunk in reader:
        codes[:, :, chunk.start : chunk.stop] = chunk.codes
    return codes


def check_size(header: StreamHeader) -> None:
    """Raises InputError for more codes than one array should hold."""
    codes = math.prod(header.shape)
    if codes * header.dtype.itemsize > MAX_BYTES_AT_ONCE:
        most = MAX_BYTES_AT_ONCE // header.dtype.itemsize
        raise InputError(f"the stream holds {codes} codes, at most {most} are read at once; use Reader")
