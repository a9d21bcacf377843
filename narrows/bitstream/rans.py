"""Entropy coding of one chunk: rANS with one integer table for each symbol stream (coder 1 of the format).

The bytes are defined by the arithmetic in docs/stream.md, not by the library used here. constriction computes it when
a table f is given as the float64 weights 256·f - 1: they sum to 2^24 - V, its scale becomes exactly 1, and every
symbol gets exactly the integer share 256·f of its 2^24.

All symbols with one table are coded in one call. rANS is last in, first out: the last stream is encoded first, so
that decoding runs forward.
"""

import math

import constriction
import numpy as np
from numpy.typing import NDArray

from narrows.bitstream.frequency_tables import FrequencyTables
from narrows.bitstream.radices import Radices, join, split, stream_sizes
from narrows.errors import DamagedStream

WORD = 4  # bytes


def payload_limit(symbols: int) -> int:
    """The most bytes that so many coded symbols can take: 16 bits each, and the coder's state."""
    return 2 * symbols + 8 if symbols else 0


class RansCoder:
    """Codes (C, K, *grid) of one chunk to a payload and back; chunks do not depend on each other."""

    def __init__(self, radices: Radices, tables: FrequencyTables) -> None:
        """The first tables must be of the sizes that the radices name; the callers check it, as their errors differ."""
        self.radices = radices
        self.sizes = stream_sizes(radices)
        self.coded = sum(size > 1 for size in self.sizes)  # a symbol without alternative takes no bits
        self.models = [exact_model(table) for table in tables.frequencies[: len(self.sizes)]]

    def compress(self, codes: NDArray[np.integer]) -> bytes:
        """The payload of these codes. Raises InputError for codes outside their codebooks."""
        streams = split(codes, self.radices)
        coded = [(stream, model) for stream, model in zip(streams, self.models, strict=True) if model is not None]
        if not coded:
            return b""
        # The very last symbol is the state that the coder starts from. The first push costs about 24 bits whatever it
        # holds, and the last symbol travels in them: about one byte less for each chunk.
        last, model = coded.pop()
        start = last[-1:].astype(np.uint32)
        coder = constriction.stream.stack.AnsCoder(start) if start[0] else constriction.stream.stack.AnsCoder()
        coder.encode_reverse(last[:-1], model)
        for stream, model in reversed(coded):
            coder.encode_reverse(stream, model)
        return packed(coder)

    def decompress(self, payload: bytes, shape: tuple[int, ...]) -> NDArray[np.int64]:
        """The codes of a payload, of the given shape (C, K, *grid).

        Raises DamagedStream unless the payload is, byte for byte, what `compress` makes of some codes.
        """
        count = math.prod(shape) // len(self.radices)  # symbols of each stream
        if len(payload) > payload_limit(self.coded * count):
            raise DamagedStream(f"a payload of {len(payload)} bytes is more than {self.coded * count} symbols can take")
        coder = unpacked(payload)
        streams = []
        left = self.coded
        for model in self.models:
            if model is None:
                streams.append(np.zeros(count, np.int32))
                continue
            left -= 1
            symbols = np.empty(count, np.int32)
            forward = count if left else count - 1
            symbols[:forward] = coder.decode(model, forward)
            streams.append(symbols)
        if self.coded:
            self._finish(coder, streams)
        return join(streams, self.radices, shape)

    def _finish(self, coder: "constriction.stream.stack.AnsCoder", streams: list[NDArray[np.int32]]) -> None:
        """Puts the last symbol, which must be all that is left in the coder, in its place."""
        last = max(index for index, size in enumerate(self.sizes) if size > 1)
        rest = coder.get_compressed().tolist() or [0]
        if len(rest) > 1 or rest[0] >= self.sizes[last]:
            raise DamagedStream("a payload holds more than its symbols; the stream is damaged, or of other tables")
        streams[last][-1] = rest[0]


def packed(coder: "constriction.stream.stack.AnsCoder") -> bytes:
    """The words of a coder as a payload."""
    words: NDArray[np.uint32] = coder.get_compressed()
    return words.astype("<u4").tobytes().rstrip(b"\0")


def unpacked(payload: bytes) -> "constriction.stream.stack.AnsCoder":
    """A coder that holds the words of a payload. Raises DamagedStream for bytes that no encoder writes."""
    if payload.endswith(b"\0"):
        raise DamagedStream("a payload ends in a zero byte, which no encoder writes; the stream is damaged")
    words = np.frombuffer(payload + bytes(-len(payload) % WORD), "<u4").astype(np.uint32)
    return constriction.stream.stack.AnsCoder(words)


def exact_model(frequencies: NDArray[np.int32]) -> "constriction.stream.model.Categorical | None":
    """The exact model of integer frequencies; None for an alphabet of one symbol."""
    if frequencies.size == 1:
        return None
    return constriction.stream.model.Categorical((frequencies * 256 - 1).astype(np.float64), perfect=False)
