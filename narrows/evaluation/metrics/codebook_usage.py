"""Usage of the codebooks of a codec."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from narrows.errors import InputError


@dataclass(frozen=True)
class CodebookUsage:
    """Usage of one codebook.

    Args:
        size: Number of entries V.
        codes: Number of codes counted.
        used: Fraction of the entries that occur.
        entropy: Bits per code of the empirical distribution.
        perplexity: 2 ** entropy, the number of equally frequent entries with this entropy.
    """

    size: int
    codes: int
    used: float
    entropy: float
    perplexity: float


def codebook_usage(codes: Sequence[NDArray[np.int64]], sizes: Sequence[int]) -> list[CodebookUsage]:
    """Usage of each codebook over all items together.

    Args:
        codes: (K, ...) of each item.
        sizes: Number of entries of each of the K codebooks.

    Returns:
        Usage of each codebook.

    Raises:
        InputError: There are no codes, another number of codebooks, or a code beyond its codebook.
    """
    for item_codes in codes:
        if item_codes.ndim < 1 or len(item_codes) != len(sizes):
            raise InputError(f"expected codes of shape ({len(sizes)}, ...), got {item_codes.shape}")
    if sum(item_codes[0].size for item_codes in codes if len(item_codes)) == 0:
        raise InputError("expected at least one code of each codebook, got none")
    flat = [np.concatenate([item_codes[k].ravel() for item_codes in codes]) for k in range(len(sizes))]
    return [_usage(codebook_codes, size) for codebook_codes, size in zip(flat, sizes, strict=True)]


def _usage(codes: NDArray[np.int64], size: int) -> CodebookUsage:
    entries, counts = np.unique(codes, return_counts=True)
    if entries[0] < 0 or entries[-1] >= size:
        raise InputError(f"expected codes from 0 to {size - 1}, got codes from {entries[0]} to {entries[-1]}")
    frequencies = counts / len(codes)
    entropy = max(0.0, -float((frequencies * np.log2(frequencies)).sum()))
    return CodebookUsage(size, len(codes), len(entries) / size, entropy, 2**entropy)
