"""How much of its codebooks a codec uses."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from narrows.errors import InputError


@dataclass(frozen=True)
class CodebookUse:
    """Use of one codebook by so many codes.

    used: share of its entries that occur. entropy: bits of a code, by how often each entry occurs. perplexity:
    2 ** entropy, how many entries of equal frequency would have this entropy.
    """

    size: int
    codes: int
    used: float
    entropy: float
    perplexity: float


def codebook_use(codes: Sequence[NDArray[np.int64]], sizes: Sequence[int]) -> list[CodebookUse]:
    """Use of each of K codebooks with so many entries, by the codes (K, ...) of all items together.

    Raises InputError for no codes, another number of codebooks, and codes that are no entry of theirs.
    """
    for item in codes:
        if item.ndim < 1 or len(item) != len(sizes):
            raise InputError(f"codes of shape {item.shape} given, ({len(sizes)}, ...) wanted")
    if sum(item[0].size for item in codes if len(item)) == 0:
        raise InputError("no codes given, at least one of each codebook wanted")
    return [_use(np.concatenate([item[book].ravel() for item in codes]), size) for book, size in enumerate(sizes)]


def _use(codes: NDArray[np.int64], size: int) -> CodebookUse:
    entries, counts = np.unique(codes, return_counts=True)
    if entries[0] < 0 or entries[-1] >= size:
        raise InputError(f"codes from {entries[0]} to {entries[-1]} given for a codebook of {size} entries")
    shares = counts / len(codes)
    entropy = max(0.0, -float((shares * np.log2(shares)).sum()))
    return CodebookUse(size, len(codes), len(entries) / size, entropy, 2**entropy)
