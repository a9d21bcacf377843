"""Codes as ids for a language model, and back.

Codes of K codebooks over positions become one sequence, or K in parallel; codes of codebook k are shown as k0 k1 k2 ...

    interleaved   00 10 20 01 11 21 02 12 22 ...      position by position, all codebooks of each; (N,)
    raster        the same, where positions are those of an image, row by row
    parallel      00 01 02 03 ...                     codebook k in row k; (K, N)
                  10 11 12 13 ...
    delayed       00 01 02 03  -  -                   codebook k is delayed by k positions, so that a model that
                   - 10 11 12 13  -                   predicts a column at a time is conditioned on the codebooks
                   -  - 20 21 22 23                   before (MusicGen, Copet et al. 2023); `-` is padding; (K, N)

Groups of channels of a recording follow one another in N.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from math import prod
from typing import Literal, get_args

import torch
from torch import Tensor

from narrows.errors import InputError

Pattern = Literal["interleaved", "raster", "parallel", "delayed"]
SPECIAL = 3


@dataclass(frozen=True)
class Vocabulary:
    """The meaning of ids: from `first` on padding, begin, end, then the codes of all codebooks.

    The ids of the first few codebooks are the same in a vocabulary of more codebooks.

    Args:
        sizes: V of each codebook.
        shared: whether all codebooks use the same ids, for a model with one embedding per codebook; else each codebook
            has ids of its own.
        first: 0, or the size of a text vocabulary that these ids follow.

    Raises:
        InputError: for numbers out of range.
    """

    sizes: tuple[int, ...]
    shared: bool = False
    first: int = 0

    def __post_init__(self) -> None:
        numbers = (*self.sizes, self.first + 1)
        if not self.sizes or any(type(each) is not int or each < 1 for each in numbers) or self.size >= 1 << 63:
            raise InputError(f"expected sizes from 1, a first id from 0 and all ids below 2^63, got {self}")

    @property
    def padding(self) -> int:
        """Where there is no code: padding, and the corners of `delayed`."""
        return self.first

    @property
    def begin(self) -> int:
        """Before the first id of an item."""
        return self.first + 1

    @property
    def end(self) -> int:
        """After the last id of an item."""
        return self.first + 2

    @property
    def offsets(self) -> tuple[int, ...]:
        """The id of code 0 of each codebook."""
        before = [0] * len(self.sizes) if self.shared else [0, *accumulate(self.sizes[:-1])]
        return tuple(self.first + SPECIAL + each for each in before)

    @property
    def size(self) -> int:
        """The number of ids, the rows of an embedding: all ids are below it."""
        return max(offset + size for offset, size in zip(self.offsets, self.sizes, strict=True))

    def add_begin_end(self, ids: Tensor) -> Tensor:
        """Ids (..., N) between begin and end, (..., N + 2)."""
        side = ids.new_empty(*ids.shape[:-1], 1)
        return torch.cat([torch.full_like(side, self.begin), ids, torch.full_like(side, self.end)], -1)

    def remove_begin_end(self, ids: Tensor) -> Tensor:
        """Ids (..., N) after begin, if that is the first, and before the first end; ids after the end are ignored."""
        flat = ids.unsqueeze(0).flatten(0, -2)  # (1 or K, N)
        start = int((flat[:, :1] == self.begin).all(0).any())
        ends = (flat == self.end).any(0).nonzero()
        return ids[..., start : int(ends[0]) if len(ends) else None]


def flattened(codes: Tensor, pattern: Pattern, vocabulary: Vocabulary) -> Tensor:
    """Codes (S, K, *grid) to int64 ids, (N,) or (K, N) depending on the pattern.

    K may be less than the vocabulary has. Raises InputError for codes outside of their codebooks, and other patterns.
    """
    if codes.ndim < 3 or codes.is_floating_point():
        raise InputError(f"expected codes as integers (S, K, *grid), got {codes.dtype} of shape {tuple(codes.shape)}")
    codebooks = codes.shape[1]
    offsets = _offsets(vocabulary, codebooks, codes.device)
    wrong = (codes < 0) | (
        codes >= _column(vocabulary.sizes[:codebooks], codes.device).view(-1, *[1] * (codes.ndim - 2))
    )
    if wrong.any():
        place = tuple(wrong.nonzero()[0].tolist())
        top = vocabulary.sizes[place[1]] - 1
        raise InputError(f"expected codes from 0 to {top} in codebook {place[1]}, got {int(codes[place])}")
    return _patterns(pattern)[0](codes.flatten(2).long() + offsets, vocabulary)


def unflattened(
    ids: Tensor,
    pattern: Pattern,
    vocabulary: Vocabulary,
    num_codebooks: int | None = None,
    groups: int = 1,
    inner: tuple[int, ...] = (),
) -> Tensor:
    """Int64 ids, as `flattened` gives them, to codes (S, K, *grid).

    Args:
        ids: (N,) or (K, N) depending on the pattern.
        pattern, vocabulary: those of the ids.
        num_codebooks: K; None for all of the vocabulary.
        groups: S.
        inner: sizes of the axes of the grid after the first: () for audio, (W,) for images, (H, W) for video.

    Raises:
        InputError: for ids that no codes give; it says where.
    """
    codebooks = len(vocabulary.sizes) if num_codebooks is None else num_codebooks
    offsets = _offsets(vocabulary, codebooks, ids.device)
    gather = _patterns(pattern)[1]
    shape = "(N,)" if pattern in ("interleaved", "raster") else f"({codebooks}, N)"
    sides = ids.shape[:-1] == (() if shape == "(N,)" else (codebooks,))
    if not sides or ids.is_floating_point() or ids.shape[-1] < 1:
        raise InputError(f"expected ids as integers {shape}, got {ids.dtype} of shape {tuple(ids.shape)}")
    if min(groups, *inner, 1) < 1:
        raise InputError(f"expected groups and sizes of at least 1, got {groups} groups and a grid (-1, {inner})")
    gathered = gather(ids.long(), vocabulary, codebooks, groups)
    codes = gathered - offsets
    wrong = (codes < 0) | (codes >= _column(vocabulary.sizes[:codebooks], codes.device))
    if wrong.any():
        group, codebook, position = wrong.nonzero()[0].tolist()
        first = vocabulary.offsets[codebook]
        raise InputError(
            f"expected ids from {first} to {first + vocabulary.sizes[codebook] - 1} for codebook {codebook}, got "
            f"{int(gathered[group, codebook, position])} at position {position} of group {group}"
        )
    if codes.shape[2] % prod(inner):
        raise InputError(f"expected ids of whole rows of {prod(inner)} positions, got {codes.shape[2]} positions")
    return codes.unflatten(2, (-1, *inner)) if inner else codes


def _interleaved(ids: Tensor, vocabulary: Vocabulary) -> Tensor:
    return ids.transpose(1, 2).flatten()


def _of_interleaved(ids: Tensor, vocabulary: Vocabulary, codebooks: int, groups: int) -> Tensor:
    return _divisible(ids, groups * codebooks).view(groups, -1, codebooks).transpose(1, 2)


def _parallel(ids: Tensor, vocabulary: Vocabulary) -> Tensor:
    return ids.transpose(0, 1).flatten(1)


def _of_parallel(ids: Tensor, vocabulary: Vocabulary, codebooks: int, groups: int) -> Tensor:
    return _divisible(ids, groups).view(codebooks, groups, -1).transpose(0, 1)


def _delayed(ids: Tensor, vocabulary: Vocabulary) -> Tensor:
    groups, codebooks, count = ids.shape
    delayed = ids.new_full((groups, codebooks, count + codebooks - 1), vocabulary.padding)
    for codebook in range(codebooks):
        delayed[:, codebook, codebook : codebook + count] = ids[:, codebook]
    return _parallel(delayed, vocabulary)


def _of_delayed(ids: Tensor, vocabulary: Vocabulary, codebooks: int, groups: int) -> Tensor:
    delayed = _of_parallel(ids, vocabulary, codebooks, groups)
    count = delayed.shape[2] - codebooks + 1
    if count < 1:
        raise InputError(
            f"expected at least {codebooks} ids per codebook for {codebooks} codebooks, got {delayed.shape[2]}"
        )
    step = torch.arange(delayed.shape[2], device=ids.device) - torch.arange(codebooks, device=ids.device)[:, None]
    wrong = ((step < 0) | (step >= count)) & (delayed != vocabulary.padding)
    if wrong.any():
        group, codebook, position = wrong.nonzero()[0].tolist()
        raise InputError(
            f"expected padding ({vocabulary.padding}) for codebook {codebook} at step {position} of group {group}, got "
            f"{int(delayed[group, codebook, position])}"
        )
    return torch.stack([delayed[:, codebook, codebook : codebook + count] for codebook in range(codebooks)], 1)


Flatten = Callable[[Tensor, Vocabulary], Tensor]
Gather = Callable[[Tensor, Vocabulary, int, int], Tensor]
_PATTERNS: Mapping[Pattern, tuple[Flatten, Gather]] = {
    "interleaved": (_interleaved, _of_interleaved),
    "raster": (_interleaved, _of_interleaved),
    "parallel": (_parallel, _of_parallel),
    "delayed": (_delayed, _of_delayed),
}


def _patterns(pattern: Pattern) -> tuple[Flatten, Gather]:
    if pattern not in _PATTERNS:
        raise InputError(f"expected a pattern of {', '.join(get_args(Pattern))}, got {pattern!r}")
    return _PATTERNS[pattern]


def _divisible(ids: Tensor, parts: int) -> Tensor:
    if ids.shape[-1] % parts:
        raise InputError(
            f"expected a multiple of {parts} ids, got {ids.shape[-1]}; check that the pattern is the one of the ids"
        )
    return ids


def _offsets(vocabulary: Vocabulary, codebooks: int, device: torch.device) -> Tensor:
    """The ids of code 0, (K, 1)."""
    if not 1 <= codebooks <= len(vocabulary.sizes):
        raise InputError(f"expected 1 to {len(vocabulary.sizes)} codebooks, as the vocabulary has, got {codebooks}")
    return _column(vocabulary.offsets[:codebooks], device)


def _column(numbers: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(numbers, device=device)[:, None]
