"""Codes as digits: a codebook too large for one table is coded as a number of several digits.

    codebook of 1024 codes (VQ)        radices (1024,)            one digit, the code itself
    17^6 = 24 137 569 codes (FSQ)      radices (289, 289, 289)    code = d0 + 289·d1 + 289²·d2

The digits of one codebook, over all positions of a chunk, are one symbol stream with one table.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from narrows.bitstream.limits import MAX_ALPHABET, MAX_CODEBOOK, MAX_CODEBOOKS, MAX_DIGITS
from narrows.errors import InputError
from narrows.media.extents import check_integer

Radices = tuple[tuple[int, ...], ...]  # for each codebook the alphabets of its digits, the least significant first


def check_radices(radices: Radices) -> None:
    """Raises InputError unless these are 1 to 1024 codebooks of 1 to 8 digits, each alphabet at most 4096."""
    if not 1 <= len(radices) <= MAX_CODEBOOKS:
        raise InputError(f"{len(radices)} codebooks were given, want 1 to {MAX_CODEBOOKS}")
    for book, digits in enumerate(radices):
        if not isinstance(digits, tuple) or not 1 <= len(digits) <= MAX_DIGITS:
            raise InputError(f"radices of codebook {book} are {digits!r}, want a tuple of 1 to {MAX_DIGITS} alphabets")
        for radix in digits:
            check_integer(radix, MAX_ALPHABET, f"an alphabet of codebook {book}")
        if math.prod(digits) > MAX_CODEBOOK:
            raise InputError(f"codebook {book} has {math.prod(digits)} codes, want at most 2^62")


def codebook_sizes(radices: Radices) -> tuple[int, ...]:
    """V of each codebook."""
    return tuple(math.prod(digits) for digits in radices)


def stream_sizes(radices: Radices) -> tuple[int, ...]:
    """The alphabet of each symbol stream: codebook by codebook, in each the least significant digit first."""
    return tuple(radix for digits in radices for radix in digits)


def check_codes(codes: NDArray[np.integer], radices: Radices) -> None:
    """Raises InputError unless codes are integers (C, K, *grid), each in 0 .. V-1 of its codebook."""
    if codes.dtype.kind not in "iu":
        raise InputError(f"codes are {codes.dtype}, want integers")
    if codes.ndim < 3 or codes.shape[1] != len(radices) or codes.size == 0:
        raise InputError(f"codes are of shape {codes.shape}, want (C, {len(radices)}, *grid) and no axis of length 0")
    for book, size in enumerate(codebook_sizes(radices)):
        part = codes[:, book]
        for value in (int(part.min()), int(part.max())):
            if not 0 <= value < size:
                raise InputError(f"codebook {book} holds the code {value}, want 0 to {size - 1}; is it of this model?")


def split(codes: NDArray[np.integer], radices: Radices) -> list[NDArray[np.int32]]:
    """Codes (C, K, *grid) to symbol streams, each (C * positions,), in the order of `stream_sizes`.

    Raises InputError for a wrong shape, and for a code outside its codebook: it names the codebook, value and size.
    """
    check_codes(codes, radices)
    streams = []
    for book, digits in enumerate(radices):
        rest = codes[:, book].astype(np.int64).reshape(-1)
        for radix in digits:
            rest, digit = np.divmod(rest, radix) if len(digits) > 1 else (rest, rest)
            streams.append(digit.astype(np.int32))
    return streams


def join(streams: Sequence[NDArray[np.integer]], radices: Radices, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Symbol streams back to codes of shape (C, K, *grid); the inverse of `split`.

    Raises InputError for a wrong number or length of streams, and for a symbol outside its alphabet.
    """
    sizes = stream_sizes(radices)
    count = math.prod(shape) // len(radices)
    if len(streams) != len(sizes) or any(stream.shape != (count,) for stream in streams):
        lengths = [len(stream) for stream in streams]
        raise InputError(f"streams have lengths {lengths}, want {len(sizes)} streams of {count} symbols")
    codes = np.zeros(shape, np.int64)
    remaining = iter(streams)
    for book, digits in enumerate(radices):
        weight = 1
        for place, radix in enumerate(digits):
            symbols = next(remaining)
            low, high = int(symbols.min()), int(symbols.max())
            if low < 0 or high >= radix:
                value = low if low < 0 else high
                raise InputError(f"digit {place} of codebook {book} holds {value}, want 0 to {radix - 1}")
            codes[:, book] += symbols.astype(np.int64).reshape(codes[:, book].shape) * weight
            weight *= radix
    return codes
