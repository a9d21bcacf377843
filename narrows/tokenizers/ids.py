"""Codes as ids for a language model, and back.

Codes of K codebooks over positions p become one sequence, or K side by side; codes of book k are shown as k0 k1 k2 ...

    interleaved   00 10 20 01 11 21 02 12 22 ...      position by position, all books of each; (S,)
    raster        the same, where positions are those of a picture, row by row
    parallel      00 01 02 03 ...                     book k in row k; (K, S)
                  10 11 12 13 ...
    delayed       00 01 02 03  -  -                   book k is k positions late: a model that makes a column at
                   - 10 11 12 13  -                   a time sees the books before (MusicGen, Copet et al. 2023);
                   -  - 20 21 22 23                   `-` is the id of nothing; (K, S)

Several signals, the channels of a recording, follow one another in S.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, get_args

import torch
from torch import Tensor

from narrows.errors import InputError

Pattern = Literal["interleaved", "raster", "parallel", "delayed"]
SPECIAL = 3


@dataclass(frozen=True)
class Vocabulary:
    """Which id stands for what: from `first` on nothing (padding), begin, end, then the codes of all codebooks.

    sizes: V of each codebook. shared: codebooks use the same ids, for a model with an embedding for each; else each has
    its own. first: 0, or the size of a vocabulary of text that these ids follow. The ids of some of the first codebooks
    are the same in a vocabulary of more.
    """

    sizes: tuple[int, ...]
    shared: bool = False
    first: int = 0

    def __post_init__(self) -> None:
        numbers = (*self.sizes, self.first + 1)
        if not self.sizes or any(type(each) is not int or each < 1 for each in numbers) or self.size >= 1 << 63:
            raise InputError(f"{self} given; sizes from 1, a first id from 0 and all ids below 2^63 wanted")

    @property
    def nothing(self) -> int:
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
        """All ids are below it: the rows of an embedding."""
        return max(offset + size for offset, size in zip(self.offsets, self.sizes, strict=True))

    def framed(self, ids: Tensor) -> Tensor:
        """Ids (..., S) with begin and end around them, (..., S + 2)."""
        side = ids.new_empty(*ids.shape[:-1], 1)
        return torch.cat([torch.full_like(side, self.begin), ids, torch.full_like(side, self.end)], -1)

    def unframed(self, ids: Tensor) -> Tensor:
        """Ids (..., S) between begin, if that is the first, and the first end; those after the end are no matter."""
        flat = ids.unsqueeze(0).flatten(0, -2)  # (1 or K, S)
        start = int((flat[:, :1] == self.begin).all(0).any())
        ends = (flat == self.end).any(0).nonzero()
        return ids[..., start : int(ends[0]) if len(ends) else None]


def flattened(codes: Tensor, pattern: Pattern, vocabulary: Vocabulary) -> Tensor:
    """Codes (C, K, *grid) to int64 ids, (S,) or (K, S) as the pattern is.

    K may be less than the vocabulary has. Raises InputError for codes outside of their codebooks, and other patterns.
    """
    if codes.ndim < 3 or codes.is_floating_point():
        given = f"codes of shape {tuple(codes.shape)} and type {codes.dtype}"
        raise InputError(f"{given} given, integers (C, K, *grid) wanted")
    books = codes.shape[1]
    offsets = _offsets(vocabulary, books, codes.device)
    wrong = (codes < 0) | (codes >= _column(vocabulary.sizes[:books], codes.device).view(-1, *[1] * (codes.ndim - 2)))
    if wrong.any():
        place = tuple(wrong.nonzero()[0].tolist())
        top = vocabulary.sizes[place[1]] - 1
        raise InputError(f"code {int(codes[place])} of codebook {place[1]} given, 0 to {top} wanted")
    return _patterns(pattern)[0](codes.flatten(2).long() + offsets, vocabulary)


def unflattened(
    ids: Tensor,
    pattern: Pattern,
    vocabulary: Vocabulary,
    codebooks: int | None = None,
    signals: int = 1,
    width: int | None = None,
) -> Tensor:
    """Int64 ids, as `flattened` gives them, to codes (C, K, F) or, with a width W, (C, K, H, W).

    codebooks: K, all of the vocabulary unless given. signals: C.
    Raises InputError for ids that no codes give; it says where.
    """
    books = len(vocabulary.sizes) if codebooks is None else codebooks
    offsets = _offsets(vocabulary, books, ids.device)
    gather = _patterns(pattern)[1]
    shape = "(S,)" if pattern in ("interleaved", "raster") else f"({books}, S)"
    sides = ids.shape[:-1] == (() if shape == "(S,)" else (books,))
    if not sides or ids.is_floating_point() or ids.shape[-1] < 1:
        raise InputError(f"ids of shape {tuple(ids.shape)} and type {ids.dtype} given, integers {shape} wanted")
    if signals < 1 or (width is not None and width < 1):
        raise InputError(f"{signals} signals and a width of {width} given, at least 1 wanted")
    laid = gather(ids.long(), vocabulary, books, signals)
    codes = laid - offsets
    wrong = (codes < 0) | (codes >= _column(vocabulary.sizes[:books], codes.device))
    if wrong.any():
        signal, book, position = wrong.nonzero()[0].tolist()
        first = vocabulary.offsets[book]
        raise InputError(
            f"id {int(laid[signal, book, position])} at position {position} of signal {signal} given for codebook "
            f"{book}, {first} to {first + vocabulary.sizes[book] - 1} wanted"
        )
    if width is None:
        return codes
    if codes.shape[2] % width:
        raise InputError(f"ids of {codes.shape[2]} positions given, whole rows of {width} wanted")
    return codes.unflatten(2, (-1, width))


def _interleaved(ids: Tensor, vocabulary: Vocabulary) -> Tensor:
    return ids.transpose(1, 2).flatten()


def _of_interleaved(ids: Tensor, vocabulary: Vocabulary, books: int, signals: int) -> Tensor:
    return _cut(ids, signals * books).view(signals, -1, books).transpose(1, 2)


def _parallel(ids: Tensor, vocabulary: Vocabulary) -> Tensor:
    return ids.transpose(0, 1).flatten(1)


def _of_parallel(ids: Tensor, vocabulary: Vocabulary, books: int, signals: int) -> Tensor:
    return _cut(ids, signals).view(books, signals, -1).transpose(0, 1)


def _delayed(ids: Tensor, vocabulary: Vocabulary) -> Tensor:
    signals, books, count = ids.shape
    late = ids.new_full((signals, books, count + books - 1), vocabulary.nothing)
    for book in range(books):
        late[:, book, book : book + count] = ids[:, book]
    return _parallel(late, vocabulary)


def _of_delayed(ids: Tensor, vocabulary: Vocabulary, books: int, signals: int) -> Tensor:
    late = _of_parallel(ids, vocabulary, books, signals)
    count = late.shape[2] - books + 1
    if count < 1:
        raise InputError(f"{late.shape[2]} ids a codebook given, at least {books} wanted for {books} codebooks")
    step = torch.arange(late.shape[2], device=ids.device) - torch.arange(books, device=ids.device)[:, None]
    wrong = ((step < 0) | (step >= count)) & (late != vocabulary.nothing)
    if wrong.any():
        signal, book, position = wrong.nonzero()[0].tolist()
        raise InputError(
            f"id {int(late[signal, book, position])} at step {position} of signal {signal} given for codebook {book}, "
            f"which has nothing ({vocabulary.nothing}) there"
        )
    return torch.stack([late[:, book, book : book + count] for book in range(books)], 1)


Lay = Callable[[Tensor, Vocabulary], Tensor]
Gather = Callable[[Tensor, Vocabulary, int, int], Tensor]
_PATTERNS: Mapping[Pattern, tuple[Lay, Gather]] = {
    "interleaved": (_interleaved, _of_interleaved),
    "raster": (_interleaved, _of_interleaved),
    "parallel": (_parallel, _of_parallel),
    "delayed": (_delayed, _of_delayed),
}


def _patterns(pattern: Pattern) -> tuple[Lay, Gather]:
    if pattern not in _PATTERNS:
        raise InputError(f"pattern {pattern!r} given, {', '.join(get_args(Pattern))} wanted")
    return _PATTERNS[pattern]


def _cut(ids: Tensor, parts: int) -> Tensor:
    if ids.shape[-1] % parts:
        raise InputError(f"{ids.shape[-1]} ids given, a multiple of {parts} wanted; is the pattern the one of the ids?")
    return ids


def _offsets(vocabulary: Vocabulary, books: int, device: torch.device) -> Tensor:
    """The ids of code 0, (K, 1)."""
    if not 1 <= books <= len(vocabulary.sizes):
        raise InputError(f"{books} codebooks given, the vocabulary has {len(vocabulary.sizes)}")
    return _column(vocabulary.offsets[:books], device)


def _column(numbers: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(numbers, device=device)[:, None]
