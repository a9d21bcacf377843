"""Entropy coding of one chunk: rANS with one frequency table per symbol stream (coder 1 of the format).

The bytes are defined by the integer arithmetic in docs/stream.md, not by the library used here. constriction computes
the same if a table f is given as the float64 weights 256·f - 1: they sum to 2^24 - V, its scale is then exactly 1, and
every symbol gets exactly the interval 256·f of its total 2^24.

All symbols that share a table are coded in one call. rANS is last in, first out: the last stream is encoded first, so
that decoding runs forward.
"""

import math

import constriction
import numpy as np
from numpy.typing import NDArray

from narrows.bitstream.frequency_tables import FrequencyTables
from narrows.bitstream.radices import Radices, alphabet_sizes, codes_to_symbols, symbols_to_codes
from narrows.errors import DamagedStream

WORD = 4  # bytes


def payload_limit(symbols: int) -> int:
    """The maximum size in bytes of a payload of `symbols` coded symbols: 16 bits each, plus the state of the coder."""
    return 2 * symbols + 8 if symbols else 0


class RansCoder:
    """Converts the codes (G, K, *grid) of one chunk to a payload and back; chunks do not depend on each other.

    Args:
        radices: radices of the codes.
        tables: the first tables must have the sizes `alphabet_sizes(radices)`; the caller checks this.
    """

    def __init__(self, radices: Radices, tables: FrequencyTables) -> None:
        self.radices = radices
        self.sizes = alphabet_sizes(radices)
        self.coded = sum(size > 1 for size in self.sizes)  # the only symbol of an alphabet takes no bits
        self.models = [exact_model(table) for table in tables.frequencies[: len(self.sizes)]]

    def compress(self, codes: NDArray[np.integer]) -> bytes:
        """The payload of these codes. Raises InputError for codes outside their codebooks."""
        streams = codes_to_symbols(codes, self.radices)
        coded = [(stream, model) for stream, model in zip(streams, self.models, strict=True) if model is not None]
        if not coded:
            return b""
        # The initial state of the coder is the very last symbol. Encoding the first symbol costs about 24 bits whatever
        # the state is, so this saves about one byte per chunk.
        last, model = coded.pop()
        start = last[-1:].astype(np.uint32)
        coder = constriction.stream.stack.AnsCoder(start) if start[0] else constriction.stream.stack.AnsCoder()
        coder.encode_reverse(last[:-1], model)
        for stream, model in reversed(coded):
            coder.encode_reverse(stream, model)
        return pack_words(coder)

    def decompress(self, payload: bytes, shape: tuple[int, ...]) -> NDArray[np.int64]:
        """The codes of a payload, of the given shape (G, K, *grid).

        Raises DamagedStream for a payload that `compress` does not write for any codes.
        """
        count = math.prod(shape) // len(self.radices)  # symbols of each stream
        if len(payload) > payload_limit(self.coded * count):
            raise DamagedStream(
                f"expected a payload of at most {payload_limit(self.coded * count)} bytes, got {len(payload)}"
            )
        coder = unpack_words(payload)
        streams = []
        remaining = self.coded
        for model in self.models:
            if model is None:
                streams.append(np.zeros(count, np.int32))
                continue
            remaining -= 1
            symbols = np.empty(count, np.int32)
            decoded = count if remaining else count - 1
            symbols[:decoded] = coder.decode(model, decoded)
            streams.append(symbols)
        if self.coded:
            self._finish(coder, streams)
        return symbols_to_codes(streams, self.radices, shape)

    def _finish(self, coder: "constriction.stream.stack.AnsCoder", streams: list[NDArray[np.int32]]) -> None:
        """Set the very last symbol to the state of the coder. Raises DamagedStream if more data are left."""
        last = max(index for index, size in enumerate(self.sizes) if size > 1)
        rest = coder.get_compressed().tolist() or [0]
        if len(rest) > 1 or rest[0] >= self.sizes[last]:
            raise DamagedStream(
                "expected a payload to end after its symbols, got more data; the stream is damaged or was written with "
                "other tables"
            )
        streams[last][-1] = rest[0]


def pack_words(coder: "constriction.stream.stack.AnsCoder") -> bytes:
    """The words of a coder as a payload: little-endian, without zero bytes at the end."""
    words: NDArray[np.uint32] = coder.get_compressed()
    return words.astype("<u4").tobytes().rstrip(b"\0")


def unpack_words(payload: bytes) -> "constriction.stream.stack.AnsCoder":
    """A coder with the words of a payload. Raises DamagedStream for a payload that no encoder writes."""
    if payload.endswith(b"\0"):
        raise DamagedStream("expected no zero byte at the end of a payload, got one; the stream is damaged")
    words = np.frombuffer(payload + bytes(-len(payload) % WORD), "<u4").astype(np.uint32)
    return constriction.stream.stack.AnsCoder(words)


def exact_model(frequencies: NDArray[np.int32]) -> "constriction.stream.model.Categorical | None":
    """The distribution of constriction with exactly these frequencies; None for an alphabet of one symbol."""
    if frequencies.size == 1:
        return None
    return constriction.stream.model.Categorical((frequencies * 256 - 1).astype(np.float64), perfect=False)
