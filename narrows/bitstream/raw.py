"""Codes of one chunk in a fixed number of bits per code (coder 0 of the format): a wrong bit changes one code only.

Codes are written codebook by codebook, each in ceil(log2 V) bits, the least significant first. Bit j of the chunk is
bit j mod 8 of byte j // 8. Unused bits of the last byte are zero.
"""

import math

import numpy as np
from numpy.typing import NDArray

from narrows.bitstream.radices import Radices, check_codes, codebook_sizes
from narrows.errors import DamagedStream

LOST_CODE = -1  # the value of a code that is lost


class RawCoder:
    """Converts the codes (G, K, *grid) of one chunk to a payload, whose length follows from the shape, and back."""

    def __init__(self, radices: Radices) -> None:
        self.radices = radices
        self.sizes = codebook_sizes(radices)
        self.widths = tuple((size - 1).bit_length() for size in self.sizes)

    def payload_size(self, positions: int) -> int:
        """Bytes of the payload of `positions` positions (G times the positions of the grid)."""
        return -(-positions * sum(self.widths) // 8)

    def compress(self, codes: NDArray[np.integer]) -> bytes:
        """The payload of these codes. Raises InputError for codes outside their codebooks."""
        check_codes(codes, self.radices)
        bits = []
        for codebook, width in enumerate(self.widths):
            flat = codes[:, codebook].astype(np.int64).reshape(-1, 1)
            bits.append((flat >> np.arange(width) & 1).astype(np.uint8).reshape(-1))
        return np.packbits(np.concatenate(bits), bitorder="little").tobytes()

    def decompress(self, payload: bytes, shape: tuple[int, ...]) -> NDArray[np.int64]:
        """The codes of a payload, of the given shape (G, K, *grid).

        Raises DamagedStream for a wrong length, a code outside its codebook or bits other than 0 after the last code.
        """
        codes = self.salvage(payload, shape)
        used = math.prod(shape) // len(self.sizes) * sum(self.widths)
        if payload and payload[-1] >> (used - 1) % 8 + 1:
            raise DamagedStream("expected zero bits after the last code of a chunk, got others; the stream is damaged")
        for codebook, size in enumerate(self.sizes):
            if codes[:, codebook].min() == LOST_CODE:
                raise DamagedStream(
                    f"expected codes from 0 to {size - 1} in codebook {codebook}, got more; the stream is damaged"
                )
        return codes

    def salvage(self, payload: bytes, shape: tuple[int, ...]) -> NDArray[np.int64]:
        """The codes of a damaged payload, wrong ones included; a code outside its codebook is -1.

        Raises DamagedStream for a wrong length.
        """
        count = math.prod(shape) // len(self.sizes)
        if len(payload) != self.payload_size(count):
            raise DamagedStream(f"expected {self.payload_size(count)} bytes in a raw chunk, got {len(payload)}")
        bits = np.unpackbits(np.frombuffer(payload, np.uint8), bitorder="little")
        codes = np.zeros(shape, np.int64)
        start = 0
        for codebook, (size, width) in enumerate(zip(self.sizes, self.widths, strict=True)):
            part = bits[start : start + count * width].reshape(count, width)
            start += count * width
            values = np.zeros(count, np.int64)
            for place in range(width):
                values |= part[:, place].astype(np.int64) << place
            values[values >= size] = LOST_CODE
            codes[:, codebook] = values.reshape(codes[:, codebook].shape)
        return codes
