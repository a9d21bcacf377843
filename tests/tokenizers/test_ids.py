from dataclasses import replace
from itertools import product
from typing import get_args

import numpy as np
import pytest
import torch

from narrows.bitstream import AudioExtent, ImageExtent
from narrows.errors import InputError
from narrows.tokenizers.ids import Pattern, Vocabulary, flatten_codes, unflatten_ids
from narrows.tokenizers.tokens import Tokens

PATTERNS = get_args(Pattern)
SIZES = [(1,), (8,), (8, 4, 2), (2, 1000, 3, 40_000_000_000)]


def codes(sizes: tuple[int, ...], *shape: int, groups: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(len(shape))
    return torch.stack([torch.randint(size, (groups, *shape), generator=generator) for size in sizes], 1)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("vocabulary", [{}, {"shared": True}, {"first": 32_000}])
@pytest.mark.parametrize("sizes", SIZES)
def test_the_inverse_is_exact(pattern, vocabulary, sizes) -> None:
    for shape, groups in product([(1,), (2,), (7,), (1, 1), (3, 4), (4, 1), (2, 3, 4)], [1, 2]):
        check_inverse(pattern, sizes, shape, groups, vocabulary)


def check_inverse(pattern, sizes, shape, groups, vocabulary) -> None:
    given, known = codes(sizes, *shape, groups=groups), Vocabulary(sizes, **vocabulary)
    ids = flatten_codes(given, pattern, known)
    assert ids.dtype == torch.int64
    assert ids.ndim == (1 if pattern in ("interleaved", "raster") else 2)
    assert known.first <= ids.min() <= ids.max() < known.size
    assert not torch.isin(ids, torch.tensor([known.begin, known.end])).any()
    assert torch.equal(unflatten_ids(ids, pattern, known, groups=groups, inner=shape[1:]), given)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_tokens_and_their_prefixes_come_back(pattern) -> None:
    radices = ((8,), (2, 2), (5,), (3,))
    sound = Tokens(codes((8, 4, 5, 3), 6, groups=2), radices, AudioExtent(16_000, 1900, 2), "m", "00" * 8)
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
    assert (flatten_codes(given, "delayed", known) - 3).tolist() == drawn
    assert (flatten_codes(given, "parallel", known) - 3).tolist() == given[0].tolist()
    assert (flatten_codes(given, "interleaved", known) - 3).tolist() == [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]
    assert torch.equal(
        flatten_codes(given.view(1, 3, 2, 2), "raster", known), flatten_codes(given, "interleaved", known)
    )
    two = torch.cat([given, given])
    assert torch.equal(flatten_codes(two, "delayed", known), flatten_codes(given, "delayed", known).repeat(1, 2))


def test_each_id_has_one_meaning() -> None:
    known = Vocabulary((4, 2), first=10)
    assert (known.padding, known.begin, known.end, known.offsets, known.size) == (10, 11, 12, (13, 17), 19)
    shared = Vocabulary((4, 2), shared=True, first=10)
    assert (shared.offsets, shared.size) == ((13, 13), 17)


def test_frames_around_ids() -> None:
    known = Vocabulary((4, 4))
    for ids in (torch.tensor([5, 9, 4]), torch.tensor([[5, 6], [9, 8]])):
        framed = known.add_begin_end(ids)
        assert framed.shape[-1] == ids.shape[-1] + 2
        assert torch.equal(known.remove_begin_end(framed), ids)
        sampled = torch.cat([framed, torch.full((*ids.shape[:-1], 3), known.padding)], -1)
        assert torch.equal(known.remove_begin_end(sampled), ids)
        assert torch.equal(known.remove_begin_end(framed[..., :-1]), ids)
        assert torch.equal(known.remove_begin_end(ids), ids)
    assert known.remove_begin_end(torch.zeros(0).long()).shape == (0,)
    far = Vocabulary((4,), first=2**53 + 1)
    assert far.add_begin_end(torch.tensor([2**53 + 4])).tolist() == [2**53 + 2, 2**53 + 4, 2**53 + 3]


@pytest.mark.parametrize("codes", [torch.zeros(3).long(), torch.zeros(1, 2, 3), torch.zeros(1, 2).long()])
def test_other_tensors_are_refused(codes) -> None:
    with pytest.raises(InputError, match=r"integers \(S, K, \*grid\), got"):
        flatten_codes(codes, "parallel", KNOWN)


KNOWN = Vocabulary((4, 2))  # 3 4 5 6, 7 8


@pytest.mark.parametrize(
    ("ids", "pattern", "said"),
    [
        ([3, 7, 3], "interleaved", "a multiple of 2 ids, got 3"),
        ([3, 7, 7, 8], "interleaved", "from 3 to 6 for codebook 0, got 7 at position 1 of group 0"),
        ([3, 9], "raster", "from 7 to 8 for codebook 1, got 9 at position 0 of group 0"),
        ([3, -1], "raster", "got -1 at position 0"),
        ([1, 3, 7, 2], "interleaved", "got 1 at position 0"),
        ([[3, 3], [7, 0]], "parallel", "for codebook 1, got 0 at position 1 of group 0"),
        ([[3, 4, 0], [7, 7, 8]], "delayed", r"padding \(0\) for codebook 1 at step 0 of group 0, got 7"),
        ([[3, 4, 4], [0, 7, 8]], "delayed", r"padding \(0\) for codebook 0 at step 2 of group 0, got 4"),
        ([[3, 0, 0], [0, 7, 8]], "delayed", "for codebook 0, got 0 at position 1 of group 0"),
        ([[3], [0]], "delayed", "at least 2 ids per codebook for 2 codebooks, got 1"),
        ([[3, 7]], "interleaved", r"integers \(N,\), got"),
        ([3, 7], "parallel", r"integers \(2, N\), got"),
        ([3.0, 7.0], "interleaved", "got torch.float32"),
        ([], "interleaved", r"expected ids \(N,\), got none, an empty array of shape \(0,\)"),
        ([[], []], "delayed", r"expected ids \(2, N\), got none, an empty array of shape \(2, 0\)"),
        (3, "raster", r"integers, got torch.int64 of shape \(\)"),
        ([3, 7], "zigzag", "got 'zigzag'"),
    ],
)
def test_ids_that_no_codes_give_are_refused(ids, pattern, said) -> None:
    with pytest.raises(InputError, match=said):
        unflatten_ids(torch.tensor(ids), pattern, KNOWN)


@pytest.mark.parametrize("make", [list, tuple, np.array, lambda x: np.array(x, "u2"), lambda x: np.array(x, "i8")[::1]])
def test_arrays_and_lists_are_ids(make) -> None:
    expected = torch.tensor([[[0, 1], [1, 0]]])
    assert torch.equal(unflatten_ids(make([3, 8, 4, 7]), "interleaved", KNOWN), expected)
    assert torch.equal(unflatten_ids(make([[3, 4], [8, 7]]), "parallel", KNOWN), expected)
    assert KNOWN.remove_begin_end(make([1, 3, 2, 0])).tolist() == [3]
    assert KNOWN.add_begin_end(make([3])).tolist() == [1, 3, 2]


@pytest.mark.parametrize("ids", [[[3], [7, 8]], ["3"], [3.5], [1 << 80], [None], "37", None, {3: 7}, np.array([True])])
def test_other_ids_are_refused(ids) -> None:
    for convert in (lambda x: unflatten_ids(x, "interleaved", KNOWN), KNOWN.remove_begin_end, KNOWN.add_begin_end):
        with pytest.raises(InputError, match="expected ids") as caught:
            convert(ids)
        assert "\n" not in str(caught.value)


def test_ids_of_several_items_have_no_common_end() -> None:
    with pytest.raises(InputError, match=r"of one item, got shape \(2, 2, 3\)"):
        KNOWN.remove_begin_end(torch.full((2, 2, 3), 3))


def test_a_wrong_number_of_groups_is_named_as_a_possible_cause() -> None:
    stereo = flatten_codes(codes((4, 2), 5, groups=2), "delayed", KNOWN)
    with pytest.raises(InputError, match=r"got 0 at position 5 .* such as stereo of a mono codec, give groups=2"):
        unflatten_ids(stereo, "delayed", KNOWN)
    mono = flatten_codes(codes((4, 2), 5), "delayed", KNOWN)
    with pytest.raises(InputError, match="check that the ids are of 2 groups of channels"):
        unflatten_ids(mono, "delayed", KNOWN, groups=2)
    with pytest.raises(InputError, match="this pattern and number of groups of channels"):
        unflatten_ids(mono, "delayed", KNOWN, groups=4)


@pytest.mark.parametrize("pattern", ["delay", None, ["delayed"]])
def test_patterns_are_checked_first(pattern) -> None:
    for call in (lambda: flatten_codes(torch.zeros(1), pattern, KNOWN), lambda: unflatten_ids([], pattern, KNOWN)):
        with pytest.raises(InputError, match="expected a pattern of interleaved, raster, parallel, delayed, got"):
            call()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="whole rows of 2"):
        unflatten_ids(torch.tensor([3, 7]), "raster", KNOWN, inner=(2,))
    with pytest.raises(InputError, match="expected 1 to 2 codebooks, the number in the vocabulary, got 3"):
        unflatten_ids(torch.tensor([3, 7, 3]), "raster", KNOWN, num_codebooks=3)
    with pytest.raises(InputError, match="from 0 to 1 in codebook 1, got 2"):
        flatten_codes(torch.tensor([[[3], [2]]]), "raster", KNOWN)
    with pytest.raises(InputError, match="got 0 groups"):
        unflatten_ids(torch.tensor([3, 7]), "raster", KNOWN, groups=0)
    tokens = Tokens(torch.tensor([[[3], [1]]]), ((4,), (2,)), AudioExtent(16_000, 300, 1), "m", "00" * 8)
    with pytest.raises(InputError, match=r"a grid \(1,\), got \(2,\)"):
        tokens.unflatten(torch.tensor([3, 7, 3, 7]), "interleaved")


@pytest.mark.parametrize(("sizes", "first"), [((), 0), ((0,), 0), ((2,), -1), ((1 << 62, 1 << 62), 0), ((2.0,), 0)])
def test_no_vocabulary(sizes, first) -> None:
    with pytest.raises(InputError, match="expected sizes from 1"):
        Vocabulary(sizes, first=first)


def test_a_vocabulary_shows_itself_on_one_line() -> None:
    assert repr(Vocabulary((4, 4, 8), first=9)) == "Vocabulary(2 × 4, 8, first=9)"
    assert repr(Vocabulary((4096,) * 320, shared=True)) == "Vocabulary(320 × 4096, shared, first=0)"
    assert len(repr(Vocabulary(tuple(range(1, 1000))))) < 100
