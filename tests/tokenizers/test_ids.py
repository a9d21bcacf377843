from dataclasses import replace
from itertools import product
from typing import get_args

import pytest
import torch

from narrows.bitstream import AudioExtent, ImageExtent
from narrows.errors import InputError
from narrows.tokenizers.ids import Pattern, Vocabulary, flattened, unflattened
from narrows.tokenizers.tokens import Tokens

PATTERNS = get_args(Pattern)
SIZES = [(1,), (8,), (8, 4, 2), (2, 1000, 3, 40_000_000_000)]


def codes(sizes: tuple[int, ...], *shape: int, signals: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(len(shape))
    return torch.stack([torch.randint(size, (signals, *shape), generator=generator) for size in sizes], 1)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("vocabulary", [{}, {"shared": True}, {"first": 32_000}])
@pytest.mark.parametrize("sizes", SIZES)
def test_the_inverse_is_exact(pattern, vocabulary, sizes) -> None:
    for shape, signals in product([(1,), (2,), (7,), (1, 1), (3, 4), (4, 1)], [1, 2]):
        check_inverse(pattern, sizes, shape, signals, vocabulary)


def check_inverse(pattern, sizes, shape, signals, vocabulary) -> None:
    given, known = codes(sizes, *shape, signals=signals), Vocabulary(sizes, **vocabulary)
    ids = flattened(given, pattern, known)
    assert ids.dtype == torch.int64
    assert ids.ndim == (1 if pattern in ("interleaved", "raster") else 2)
    assert known.first <= ids.min() <= ids.max() < known.size
    assert not torch.isin(ids, torch.tensor([known.begin, known.end])).any()
    width = shape[1] if len(shape) == 2 else None
    assert torch.equal(unflattened(ids, pattern, known, signals=signals, width=width), given)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_tokens_and_their_prefixes_come_back(pattern) -> None:
    radices = ((8,), (2, 2), (5,), (3,))
    sound = Tokens(codes((8, 4, 5, 3), 6, signals=2), radices, AudioExtent(16_000, 1900, 2), "m", "00" * 8)
    picture = Tokens(codes((8, 4, 5, 3), 2, 3).short(), radices, ImageExtent(30, 40, 3), "m", "00" * 8)
    for tokens in (sound, picture):
        for books in (1, 2, 4):
            prefix = tokens[:, :books]
            ids = prefix.flatten(pattern)
            empty = replace(prefix, codes=torch.zeros_like(prefix.codes))
            assert empty.unflatten(ids, pattern) == prefix
            whole = Vocabulary(tokens.codebook_sizes)
            assert torch.equal(prefix.flatten(pattern, whole), ids)
            assert empty.unflatten(ids, pattern, whole) == prefix


def test_the_patterns_are_those_that_are_drawn() -> None:
    given = torch.tensor([[[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]])
    known = Vocabulary((12, 12, 12), shared=True)
    drawn = [[0, 1, 2, 3, -3, -3], [-3, 4, 5, 6, 7, -3], [-3, -3, 8, 9, 10, 11]]
    assert (flattened(given, "delayed", known) - 3).tolist() == drawn
    assert (flattened(given, "parallel", known) - 3).tolist() == given[0].tolist()
    assert (flattened(given, "interleaved", known) - 3).tolist() == [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]
    assert torch.equal(flattened(given.view(1, 3, 2, 2), "raster", known), flattened(given, "interleaved", known))
    two = torch.cat([given, given])
    assert torch.equal(flattened(two, "delayed", known), flattened(given, "delayed", known).repeat(1, 2))


def test_each_id_has_one_meaning() -> None:
    known = Vocabulary((4, 2), first=10)
    assert (known.nothing, known.begin, known.end, known.offsets, known.size) == (10, 11, 12, (13, 17), 19)
    shared = Vocabulary((4, 2), shared=True, first=10)
    assert (shared.offsets, shared.size) == ((13, 13), 17)


def test_frames_around_ids() -> None:
    known = Vocabulary((4, 4))
    for ids in (torch.tensor([5, 9, 4]), torch.tensor([[5, 6], [9, 8]])):
        framed = known.framed(ids)
        assert framed.shape[-1] == ids.shape[-1] + 2
        assert torch.equal(known.unframed(framed), ids)
        sampled = torch.cat([framed, torch.full((*ids.shape[:-1], 3), known.nothing)], -1)
        assert torch.equal(known.unframed(sampled), ids)
        assert torch.equal(known.unframed(framed[..., :-1]), ids)
        assert torch.equal(known.unframed(ids), ids)
    assert known.unframed(torch.zeros(0).long()).shape == (0,)
    far = Vocabulary((4,), first=2**53 + 1)
    assert far.framed(torch.tensor([2**53 + 4])).tolist() == [2**53 + 2, 2**53 + 4, 2**53 + 3]


@pytest.mark.parametrize("codes", [torch.zeros(3).long(), torch.zeros(1, 2, 3), torch.zeros(1, 2).long()])
def test_codes_that_are_none_are_refused(codes) -> None:
    with pytest.raises(InputError, match=r"integers \(C, K, \*grid\) wanted"):
        flattened(codes, "parallel", KNOWN)


KNOWN = Vocabulary((4, 2))  # 3 4 5 6, 7 8


@pytest.mark.parametrize(
    ("ids", "pattern", "said"),
    [
        ([3, 7, 3], "interleaved", "3 ids given, a multiple of 2"),
        ([3, 7, 7, 8], "interleaved", "id 7 at position 1 of signal 0 given for codebook 0, 3 to 6"),
        ([3, 9], "raster", "id 9 at position 0 of signal 0 given for codebook 1, 7 to 8"),
        ([3, -1], "raster", "id -1 at position 0"),
        ([1, 3, 7, 2], "interleaved", "id 1 at position 0"),
        ([[3, 3], [7, 0]], "parallel", "id 0 at position 1 of signal 0 given for codebook 1"),
        ([[3, 4, 0], [7, 7, 8]], "delayed", "id 7 at step 0 of signal 0 given for codebook 1, which has nothing"),
        ([[3, 4, 4], [0, 7, 8]], "delayed", "id 4 at step 2 of signal 0 given for codebook 0, which has nothing"),
        ([[3, 0, 0], [0, 7, 8]], "delayed", "id 0 at position 1 of signal 0 given for codebook 0"),
        ([[3], [0]], "delayed", "1 ids a codebook given, at least 2"),
        ([[3, 7]], "interleaved", r"integers \(S,\) wanted"),
        ([3, 7], "parallel", r"integers \(2, S\) wanted"),
        ([3.0, 7.0], "interleaved", "type torch.float32"),
        ([], "interleaved", "wanted"),
        ([3, 7], "zigzag", "pattern 'zigzag' given"),
    ],
)
def test_ids_that_no_codes_give_are_refused(ids, pattern, said) -> None:
    with pytest.raises(InputError, match=said):
        unflattened(torch.tensor(ids), pattern, KNOWN)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="whole rows of 2"):
        unflattened(torch.tensor([3, 7]), "raster", KNOWN, width=2)
    with pytest.raises(InputError, match="3 codebooks given, the vocabulary has 2"):
        unflattened(torch.tensor([3, 7, 3]), "raster", KNOWN, codebooks=3)
    with pytest.raises(InputError, match="code 2 of codebook 1 given, 0 to 1"):
        flattened(torch.tensor([[[3], [2]]]), "raster", KNOWN)
    with pytest.raises(InputError, match="0 signals"):
        unflattened(torch.tensor([3, 7]), "raster", KNOWN, signals=0)
    tokens = Tokens(torch.tensor([[[3], [1]]]), ((4,), (2,)), AudioExtent(16_000, 300, 1), "m", "00" * 8)
    with pytest.raises(InputError, match=r"a grid \(2,\) given, \(1,\) wanted"):
        tokens.unflatten(torch.tensor([3, 7, 3, 7]), "interleaved")


@pytest.mark.parametrize(("sizes", "first"), [((), 0), ((0,), 0), ((2,), -1), ((1 << 62, 1 << 62), 0), ((2.0,), 0)])
def test_no_vocabulary(sizes, first) -> None:
    with pytest.raises(InputError, match="given; sizes from 1"):
        Vocabulary(sizes, first=first)
