"""Codes of one chunk as bits of a fixed length (coder 0 of the format): no tables, nothing that one bit can derail.

Codebook by codebook, each code as ceil(log2 V) bits, the least significant first; bit j of the chunk is bit j mod 8
of byte j // 8. What is left of the last byte is zero.
"""

import math

import numpy as np
from numpy.typing import NDArray

from narrows.bitstream.radices import Radices, check_codes, codebook_sizes
from narrows.errors import DamagedStream

UNKNOWN = -1  # stands for a code that was lost


class RawCoder:
    """Codes (C, K, *grid) of one chunk to a payload and back; its length follows from the shape."""

    def __init__(self, radices: Radices) -> None:
        self.radices = radices
        self.sizes = codebook_sizes(radices)
        self.widths = tuple((size - 1).bit_length() for size in self.sizes)

    def payload_size(self, positions: int) -> int:
        """Bytes of a chunk that holds so many positions (C times those of the grid)."""
        return -(-positions * sum(self.widths) // 8)

    def compress(self, codes: NDArray[np.integer]) -> bytes:
        """The payload of these codes. Raises InputError for codes outside their codebooks."""
        check_codes(codes, self.radices)
        planes = []
        for book, width in enumerate(self.widths):
            flat = codes[:, book].astype(np.int64).reshape(-1, 1)
            planes.append((flat >> np.arange(width) & 1).astype(np.uint8).reshape(-1))
        return np.packbits(np.concatenate(planes), bitorder="little").tobytes()

    def decompress(self, payload: bytes, shape: tuple[int, ...]) -> NDArray[np.int64]:
        """The codes of a payload, of the given shape (C, K, *grid).

        Raises DamagedStream for a wrong length, a code outside its codebook and bits after the last code.
        """
        codes = self.salvage(payload, shape)
        used = math.prod(shape) // len(self.sizes) * sum(self.widths)
        if payload and payload[-1] >> (used - 1) % 8 + 1:
            raise DamagedStream("bits follow the last code of a chunk; the stream is damaged")
        for book, size in enumerate(self.sizes):
            if codes[:, book].min() == UNKNOWN:
                raise DamagedStream(f"codebook {book} holds a code beyond its {size}; the stream is damaged")
        return codes

    def salvage(self, payload: bytes, shape: tuple[int, ...]) -> NDArray[np.int64]:
        """The codes of a damaged payload as they arrived; a code outside its codebook is -1.

        Raises DamagedStream for a wrong length.
        """
        count = math.prod(shape) // len(self.sizes)
        if len(payload) != self.payload_size(count):
            raise DamagedStream(f"a raw chunk has {len(payload)} bytes, want {self.payload_size(count)}")
        bits = np.unpackbits(np.frombuffer(payload, np.uint8), bitorder="little")
        codes = np.zeros(shape, np.int64)
        start = 0
        for book, (size, width) in enumerate(zip(self.sizes, self.widths, strict=True)):
            part = bits[start : start + count * width].reshape(count, width)
            start += count * width
            values = np.zeros(count, np.int64)
            for place in range(width):
                values |= part[:, place].astype(np.int64) << place
            values[values >= size] = UNKNOWN
            codes[:, book] = values.reshape(codes[:, book].shape)
        return codes
