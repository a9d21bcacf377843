"""Conversion of codes to ids for a language model, and back.

The codes of K codebooks become one sequence of ids, or K parallel sequences. Below, kp is the code of codebook k at
position p.

    interleaved   00 10 20 01 11 21 02 12 22 ...      all codebooks of a position, then the next one; (N,)
    raster        the same for an image, whose positions are ordered row by row, and for video frame by frame, each row
                  by row
    parallel      00 01 02 03 ...                     codebook k in row k; (K, N)
                  10 11 12 13 ...
    delayed       00 01 02 03  -  -                   codebook k is delayed by k positions, so that a model that
                   - 10 11 12 13  -                   predicts one column at a time is conditioned on the previous
                   -  - 20 21 22 23                   codebooks (MusicGen, Copet et al. 2023); `-` is padding; (K, N)

If a signal has more than one channel group, their ids are concatenated along N.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from math import prod
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from narrows.errors import InputError

Pattern = Literal["interleaved", "raster", "parallel", "delayed"]
Ids = Tensor | NDArray[np.integer[Any]] | Sequence[int] | Sequence[Sequence[int]]  # what is taken for ids
NUM_SPECIAL = 3  # ids of padding, begin and end


@dataclass(frozen=True, repr=False)
class Vocabulary:
    """The vocabulary of ids. From `first` on: padding, begin, end, then the codes of all codebooks.

    Adding codebooks at the end does not change the ids of the codebooks before them.

    Args:
        sizes: number of codes of each codebook.
        shared: whether all codebooks use the same ids, for a model with one embedding per codebook. Otherwise every
            codebook has separate ids.
        first: the first id: 0, or the size of a text vocabulary that comes before.

    Raises:
        InputError: for numbers out of range.
    """

    sizes: tuple[int, ...]
    shared: bool = False
    first: int = 0

    def __post_init__(self) -> None:
        numbers = (*self.sizes, self.first + 1)
        if not self.sizes or any(type(number) is not int or number < 1 for number in numbers) or self.size >= 1 << 63:
            raise InputError(f"expected sizes from 1, a first id from 0 and all ids below 2^63, got {self}")

    def __repr__(self) -> str:
        runs = [(size, len(list(run))) for size, run in groupby(self.sizes)]
        sizes = ", ".join(f"{count} × {size}" if count > 1 else str(size) for size, count in runs[:8])
        shared = ", shared" if self.shared else ""
        return f"Vocabulary({sizes}{', ...' if len(runs) > 8 else ''}{shared}, first={self.first})"

    @property
    def padding(self) -> int:
        """Id of padding, and of the positions without a code in `delayed`."""
        return self.first

    @property
    def begin(self) -> int:
        """Id that marks the beginning of an item."""
        return self.first + 1

    @property
    def end(self) -> int:
        """Id that marks the end of an item."""
        return self.first + 2

    @property
    def offsets(self) -> tuple[int, ...]:
        """The id of code 0 of each codebook."""
        preceding = [0] * len(self.sizes) if self.shared else [0, *accumulate(self.sizes[:-1])]
        return tuple(self.first + NUM_SPECIAL + count for count in preceding)

    @property
    def size(self) -> int:
        """One more than the largest id: the number of rows of an embedding."""
        return max(offset + size for offset, size in zip(self.offsets, self.sizes, strict=True))

    def add_begin_end(self, ids: Ids) -> Tensor:
        """Add begin and end to ids (..., N): (..., N + 2)."""
        ids = to_ids(ids)
        column = ids.new_empty(*ids.shape[:-1], 1)
        return torch.cat([torch.full_like(column, self.begin), ids, torch.full_like(column, self.end)], -1)

    def remove_begin_end(self, ids: Ids) -> Tensor:
        """Remove begin, if ids (N,) or (K, N) start with it, and the first end with all ids after it.

        Raises InputError for ids of several items, which may end at different positions.
        """
        ids = to_ids(ids)
        if ids.ndim not in (1, 2):
            raise InputError(f"expected ids (N,) or (K, N) of one item, got shape {tuple(ids.shape)}")
        flat = ids if ids.ndim == 2 else ids[None]  # (1 or K, N)
        start = int((flat[:, :1] == self.begin).all(0).any())
        ends = (flat == self.end).any(0).nonzero()
        return ids[..., start : int(ends[0]) if len(ends) else None]


def flatten_codes(codes: Tensor, pattern: Pattern, vocabulary: Vocabulary) -> Tensor:
    """Convert codes (S, K, *grid) to int64 ids, (N,) or (K, N) depending on the pattern.

    The vocabulary may have more than K codebooks. Raises InputError for codes outside of their codebooks and for an
    unknown pattern.
    """
    check_pattern(pattern)
    if codes.ndim < 3 or codes.is_floating_point():
        raise InputError(f"expected codes as integers (S, K, *grid), got {codes.dtype} of shape {tuple(codes.shape)}")
    codebooks = codes.shape[1]
    offsets = _offsets(vocabulary, codebooks, codes.device)
    wrong = (codes < 0) | (
        codes >= _column(vocabulary.sizes[:codebooks], codes.device).view(-1, *[1] * (codes.ndim - 2))
    )
    if wrong.any():
        index = tuple(wrong.nonzero()[0].tolist())
        last = vocabulary.sizes[index[1]] - 1
        raise InputError(f"expected codes from 0 to {last} in codebook {index[1]}, got {int(codes[index])}")
    return _PATTERNS[pattern][0](codes.flatten(2).long() + offsets, vocabulary)


def to_ids(ids: Ids) -> Tensor:
    """Ids (..., N), given as a tensor, an array or lists of integers, as int64. Raises InputError for anything else."""
    found: Any = ids
    if isinstance(ids, np.ndarray | list | tuple):
        try:
            array = np.array(ids)
            found = torch.from_numpy(array)
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            reason = " ".join(str(error).split())[:80]
            raise InputError(
                f"expected ids as a tensor, array or lists of integers, got {str(ids)[:40]!r} ({reason})"
            ) from error
    if not isinstance(found, Tensor):
        raise InputError(f"expected ids as a tensor, array or lists of integers, got {type(ids).__name__}")
    integers = not (found.is_floating_point() or found.is_complex() or found.dtype == torch.bool)
    if not found.ndim or not (integers or found.numel() == 0):  # torch.tensor([]) is of floats
        raise InputError(f"expected ids (..., N) as integers, got {found.dtype} of shape {tuple(found.shape)}")
    return found.long()


def unflatten_ids(
    ids: Ids,
    pattern: Pattern,
    vocabulary: Vocabulary,
    num_codebooks: int | None = None,
    groups: int = 1,
    inner: tuple[int, ...] = (),
) -> Tensor:
    """Convert ids to int64 codes (S, K, *grid); the inverse of `flatten_codes`.

    Args:
        ids: (N,) or (K, N) depending on the pattern; a tensor, an array or lists of integers.
        pattern, vocabulary: pattern and vocabulary that the ids were made with.
        num_codebooks: K; None for all codebooks of the vocabulary.
        groups: number of channel groups, S.
        inner: sizes of the grid axes after the first: () for audio, (W,) for images, (H, W) for video.

    Raises:
        InputError: for ids that `flatten_codes` cannot return, with their position.
    """
    check_pattern(pattern)
    ids, codebooks = to_ids(ids), len(vocabulary.sizes) if num_codebooks is None else num_codebooks
    offsets = _offsets(vocabulary, codebooks, ids.device)
    shape = "(N,)" if pattern in ("interleaved", "raster") else f"({codebooks}, N)"
    valid = ids.shape[:-1] == (() if shape == "(N,)" else (codebooks,))
    if 0 in ids.shape:
        raise InputError(f"expected ids {shape}, got none, an empty array of shape {tuple(ids.shape)}")
    if not valid:
        raise InputError(f"expected ids as integers {shape}, got {ids.dtype} of shape {tuple(ids.shape)}")
    if min(groups, *inner, 1) < 1:
        raise InputError(f"expected groups and sizes of at least 1, got {groups} groups and a grid (-1, {inner})")
    restored = _PATTERNS[pattern][1](ids, vocabulary, codebooks, groups)
    codes = restored - offsets
    wrong = (codes < 0) | (codes >= _column(vocabulary.sizes[:codebooks], codes.device))
    if wrong.any():
        group, codebook, position = wrong.nonzero()[0].tolist()
        first, got = vocabulary.offsets[codebook], int(restored[group, codebook, position])
        several = pattern == "delayed" and got == vocabulary.padding  # as between groups
        raise InputError(
            f"expected ids from {first} to {first + vocabulary.sizes[codebook] - 1} for codebook {codebook}, got {got} "
            f"at position {position} of group {group}{_advice(groups, several)}"
        )
    if codes.shape[2] % prod(inner):
        raise InputError(f"expected ids of whole rows of {prod(inner)} positions, got {codes.shape[2]} positions")
    return codes.unflatten(2, (-1, *inner)) if inner else codes


def _interleaved(ids: Tensor, vocabulary: Vocabulary) -> Tensor:
    return ids.transpose(1, 2).flatten()


def _from_interleaved(ids: Tensor, vocabulary: Vocabulary, codebooks: int, groups: int) -> Tensor:
    return _divisible(ids, groups * codebooks).view(groups, -1, codebooks).transpose(1, 2)


def _parallel(ids: Tensor, vocabulary: Vocabulary) -> Tensor:
    return ids.transpose(0, 1).flatten(1)


def _from_parallel(ids: Tensor, vocabulary: Vocabulary, codebooks: int, groups: int) -> Tensor:
    return _divisible(ids, groups).view(codebooks, groups, -1).transpose(0, 1)


def _delayed(ids: Tensor, vocabulary: Vocabulary) -> Tensor:
    groups, codebooks, count = ids.shape
    delayed = ids.new_full((groups, codebooks, count + codebooks - 1), vocabulary.padding)
    for codebook in range(codebooks):
        delayed[:, codebook, codebook : codebook + count] = ids[:, codebook]
    return _parallel(delayed, vocabulary)


def _from_delayed(ids: Tensor, vocabulary: Vocabulary, codebooks: int, groups: int) -> Tensor:
    delayed = _from_parallel(ids, vocabulary, codebooks, groups)
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
            f"{int(delayed[group, codebook, position])}{_advice(groups)}"
        )
    return torch.stack([delayed[:, codebook, codebook : codebook + count] for codebook in range(codebooks)], 1)


Flatten = Callable[[Tensor, Vocabulary], Tensor]
Restore = Callable[[Tensor, Vocabulary, int, int], Tensor]
_PATTERNS: Mapping[Pattern, tuple[Flatten, Restore]] = {
    "interleaved": (_interleaved, _from_interleaved),
    "raster": (_interleaved, _from_interleaved),
    "parallel": (_parallel, _from_parallel),
    "delayed": (_delayed, _from_delayed),
}


def check_pattern(pattern: object) -> None:
    """Raise InputError for what is no pattern."""
    if pattern not in get_args(Pattern):
        raise InputError(f"expected a pattern of {', '.join(get_args(Pattern))}, got {pattern!r}")


def _advice(groups: int, several: bool = False) -> str:
    """What to do, if the number of groups may be the cause of an error."""
    if groups > 1:
        return f"; check that the ids are of {groups} groups of channels"
    return "; for ids of several groups of channels, such as stereo of a mono codec, give groups=2" if several else ""


def _divisible(ids: Tensor, parts: int) -> Tensor:
    if ids.shape[-1] % parts:
        raise InputError(
            f"expected a multiple of {parts} ids, got {ids.shape[-1]}; check that the ids were made with this pattern "
            "and number of groups of channels"
        )
    return ids


def _offsets(vocabulary: Vocabulary, codebooks: int, device: torch.device) -> Tensor:
    """The id of code 0 of each codebook, (K, 1)."""
    if not 1 <= codebooks <= len(vocabulary.sizes):
        raise InputError(
            f"expected 1 to {len(vocabulary.sizes)} codebooks, the number in the vocabulary, got {codebooks}"
        )
    return _column(vocabulary.offsets[:codebooks], device)


def _column(numbers: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(numbers, device=device)[:, None]
