"""Codes as digits: a code of a codebook that is too large for one table is coded as several digits (mixed radix).

    codebook of 1024 codes (VQ)        radices (1024,)            one digit, the code itself
    17^6 = 24 137 569 codes (FSQ)      radices (289, 289, 289)    code = d0 + 289·d1 + 289²·d2

One digit of one codebook, at all positions of a chunk, is a symbol stream, coded with one table.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from narrows.bitstream.limits import MAX_ALPHABET, MAX_CODEBOOK_SIZE, MAX_CODEBOOKS, MAX_DIGITS
from narrows.errors import InputError, shortened
from narrows.media.extents import check_integer

Radices = tuple[
    tuple[int, ...], ...
]  # alphabet sizes of the digits of each codebook, the least significant digit first


def check_radices(radices: Radices) -> None:
    """Raise InputError unless there are 1 to 1024 codebooks of 1 to 8 digits with alphabets of 1 to 4096 symbols."""
    if not 1 <= len(radices) <= MAX_CODEBOOKS:
        raise InputError(f"expected 1 to {MAX_CODEBOOKS} codebooks, got {len(radices)}")
    for codebook, digits in enumerate(radices):
        if not isinstance(digits, tuple) or not 1 <= len(digits) <= MAX_DIGITS:
            raise InputError(
                f"expected radices of codebook {codebook} as a tuple of 1 to {MAX_DIGITS} sizes, got "
                f"{shortened(digits)}"
            )
        for radix in digits:
            check_integer(radix, MAX_ALPHABET, f"an alphabet of codebook {codebook}")
        if math.prod(digits) > MAX_CODEBOOK_SIZE:
            raise InputError(f"expected at most 2^62 codes in codebook {codebook}, got {math.prod(digits)}")


def codebook_sizes(radices: Radices) -> tuple[int, ...]:
    """Number of codes V of each codebook."""
    return tuple(math.prod(digits) for digits in radices)


def alphabet_sizes(radices: Radices) -> tuple[int, ...]:
    """The alphabet size of each symbol stream: codebook by codebook, in each the least significant digit first."""
    return tuple(radix for digits in radices for radix in digits)


def check_codes(codes: NDArray[np.integer], radices: Radices) -> None:
    """Raise InputError unless codes are integers (G, K, *grid), each from 0 to V - 1 of its codebook."""
    if codes.dtype.kind not in "iu":
        raise InputError(f"expected codes as integers, got {codes.dtype}")
    if codes.ndim < 3 or codes.shape[1] != len(radices) or codes.size == 0:
        raise InputError(f"expected codes (G, {len(radices)}, *grid), no axis empty, got shape {codes.shape}")
    for codebook, size in enumerate(codebook_sizes(radices)):
        part = codes[:, codebook]
        for value in (int(part.min()), int(part.max())):
            if not 0 <= value < size:
                raise InputError(
                    f"expected codes from 0 to {size - 1} in codebook {codebook}, got {value}; use codes of this model"
                )


def codes_to_symbols(codes: NDArray[np.integer], radices: Radices) -> list[NDArray[np.int32]]:
    """Convert codes (G, K, *grid) to symbol streams, each (G * positions,), in the order of `alphabet_sizes`.

    Raises:
        InputError: for a wrong shape or type, or a code outside its codebook.
    """
    check_codes(codes, radices)
    streams = []
    for codebook, digits in enumerate(radices):
        rest = codes[:, codebook].astype(np.int64).reshape(-1)
        for radix in digits:
            rest, digit = np.divmod(rest, radix) if len(digits) > 1 else (rest, rest)
            streams.append(digit.astype(np.int32))
    return streams


def symbols_to_codes(
    streams: Sequence[NDArray[np.integer]], radices: Radices, shape: tuple[int, ...]
) -> NDArray[np.int64]:
    """Convert symbol streams to codes of shape (G, K, *grid); the inverse of `codes_to_symbols`.

    Raises:
        InputError: for a wrong number or length of streams, or a symbol outside its alphabet.
    """
    sizes = alphabet_sizes(radices)
    count = math.prod(shape) // len(radices)
    if len(streams) != len(sizes) or any(stream.shape != (count,) for stream in streams):
        lengths = [len(stream) for stream in streams]
        raise InputError(f"expected {len(sizes)} streams of {count} symbols, got lengths {lengths}")
    codes = np.zeros(shape, np.int64)
    remaining = iter(streams)
    for codebook, digits in enumerate(radices):
        weight = 1
        for place, radix in enumerate(digits):
            symbols = next(remaining)
            low, high = int(symbols.min()), int(symbols.max())
            if low < 0 or high >= radix:
                value = low if low < 0 else high
                raise InputError(f"expected 0 to {radix - 1} as digit {place} of codebook {codebook}, got {value}")
            codes[:, codebook] += symbols.astype(np.int64).reshape(codes[:, codebook].shape) * weight
            weight *= radix
    return codes


def short_sizes(sizes: tuple[int, ...]) -> list[int]:
    """Sizes of codebooks, for people; if there are more than 16 equal ones, only one."""
    return list(sizes) if len(set(sizes)) > 1 or len(sizes) <= 16 else list(sizes[:1])
