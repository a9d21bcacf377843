"""Codes to a stream, a few positions at a time: memory holds one chunk, whatever the length of the file."""

import numpy as np
from numpy.typing import NDArray

from narrows.bitstream.coder import make_coder
from narrows.bitstream.framing import Framing
from narrows.bitstream.frequency_tables import FrequencyTables
from narrows.bitstream.header import StreamHeader
from narrows.bitstream.indexed import Prior
from narrows.bitstream.radices import check_codes
from narrows.errors import InputError, WrongModel


class Writer:
    """Writes the stream that a header announces.

        writer = Writer(header, tables)
        for codes in parts:                  # (C, K, any number of steps, *rest of the grid)
            file.write(writer.push(codes))
        writer.finish()                      # checks that nothing is missing

    Raises InputError where the tables are not those that the header names.
    """

    def __init__(self, header: StreamHeader, tables: FrequencyTables | Prior | None = None) -> None:
        if header.tables_digest is None and tables is not None:
            raise InputError("tables were given for a raw stream; put tables_digest=tables.digest[:4] into its header")
        try:
            self._coder = make_coder(header, tables)
        except WrongModel as error:
            raise InputError(str(error)) from None
        self.header = header
        self._framing = Framing(header)
        self._buffer = np.empty(header.chunk_shape(0), header.dtype)
        self._pushed = 0  # steps

    def push(self, codes: NDArray[np.integer]) -> bytes:
        """The next codes (C, K, n, *rest of the grid), n >= 1, to the bytes that they complete (b"" if none).

        Raises InputError for a wrong shape, a code outside its codebook and more steps than the header announced; the
        writer is then as it was before.
        """
        check_codes(codes, self.header.radices)
        wanted = (self.header.signals, len(self.header.radices), codes.shape[2], *self.header.grid[1:])
        if codes.shape != wanted:
            raise InputError(f"codes are of shape {codes.shape}, want {wanted} for a stream of {self.header.shape}")
        end = self._pushed + codes.shape[2]
        if end > self.header.grid[0]:
            raise InputError(f"{end} grid steps were pushed, the header says {self.header.grid[0]}")
        out = [] if self._pushed else [self.header.to_bytes()]
        while codes.shape[2]:
            chunk, filled = divmod(self._pushed, self.header.steps)
            start, stop = self.header.span(chunk)
            part, codes = np.split(codes, [stop - start - filled], axis=2)
            filled += part.shape[2]
            self._buffer[:, :, filled - part.shape[2] : filled] = part
            self._pushed += part.shape[2]
            if self._pushed == stop:
                out.append(self._framing.wrap(chunk, self._coder.compress(self._buffer[:, :, :filled])))
        return b"".join(out)

    def finish(self) -> None:
        """Raises InputError unless all steps that the header announces were pushed: then the file is complete."""
        if self._pushed < self.header.grid[0]:
            raise InputError(f"{self._pushed} of {self.header.grid[0]} grid steps were pushed; push the rest")


def write(header: StreamHeader, codes: NDArray[np.integer], tables: FrequencyTables | Prior | None = None) -> bytes:
    """Codes (C, K, *grid) to a whole stream. Raises InputError as `Writer` and its `push` do."""
    if codes.shape != header.shape:
        raise InputError(f"codes are of shape {codes.shape}, the header says {header.shape}")
    writer = Writer(header, tables)
    data = writer.push(codes)
    writer.finish()
    return data
