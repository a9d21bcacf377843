import pickle
import re
from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from narrows.datasets import Batch, Collate, Example, TokenStream, load
from narrows.errors import InputError
from narrows.tokenizers.ids import Vocabulary

KNOWN = Vocabulary((8, 8), first=10)


def test_ids_are_padded_on_the_right() -> None:
    examples = [Example("a", torch.tensor([13, 14]), {"n": 1}), Example("b", torch.tensor([15]), {})]
    batch = Collate(KNOWN)(examples)
    assert batch.ids.tolist() == [[13, 14], [15, 10]]
    assert batch.mask.tolist() == [[True, True], [True, False]]
    assert (batch.lengths.tolist(), batch.keys, batch.meta) == ([2, 1], ["a", "b"], [{"n": 1}, {}])


def test_rows_of_codebooks_without_metadata() -> None:
    batch = Collate(KNOWN, begin_end=True)([torch.full((2, 3), 13), torch.full((2, 1), 14)])
    assert batch.ids[1].tolist() == [[11, 14, 12, 10, 10]] * 2
    assert batch.ids[0].tolist() == [[11, 13, 13, 13, 12]] * 2
    assert (batch.lengths.tolist(), batch.keys, batch.meta) == ([5, 3], [], [])
    assert batch.mask.tolist() == [[True] * 5, [True] * 3 + [False] * 2]


def test_one_item() -> None:
    batch = Collate(KNOWN)([torch.tensor([13])])
    assert (batch.ids.tolist(), batch.mask.tolist()) == ([[13]], [[True]])


@pytest.mark.parametrize(
    ("items", "got"),
    [
        ([], "no items"),
        (["text"], "str"),
        ([None], "NoneType"),
    ],
)
def test_what_are_no_ids_is_refused(items: list[torch.Tensor], got: str) -> None:
    with pytest.raises(InputError, match=rf"expected items of ids \(N,\) or \(K, N\), got {got}; load them with ids="):
        Collate(KNOWN)(items)


@pytest.mark.parametrize("shapes", [[(2, 3), (3, 3)], [(3,), (3, 3)], [(1, 2, 3)]])
def test_shapes_that_do_not_fit_are_refused(shapes) -> None:
    with pytest.raises(InputError, match=rf"all of as many rows, got shapes .*{re.escape(str(shapes[-1]))}"):
        Collate(KNOWN)([torch.zeros(shape).long() for shape in shapes])


def test_arrays_and_lists_of_ids() -> None:
    batch = Collate(KNOWN)([np.array([13, 14], "u2"), [15]])
    assert batch.ids.tolist() == [[13, 14], [15, 10]]
    assert batch.ids.dtype == torch.int64
    with pytest.raises(InputError, match=r"expected ids \(..., N\) as integers, got torch.float32"):
        Collate(KNOWN)([torch.zeros(3)])


@pytest.mark.parametrize("item", [Example("a", torch.tensor([13]), {}), torch.full((2, 3), 13), "text"])
def test_a_single_item_is_no_list(item) -> None:
    with pytest.raises(InputError, match=rf"expected a list of items, got {type(item).__name__}; for one item"):
        Collate(KNOWN)(item)


def test_batches_move_and_are_pickled() -> None:
    batch = Collate(KNOWN)([Example("a", torch.tensor([13]), {"n": 1})])
    moved = batch.to("meta", non_blocking=True)
    assert (moved.ids.device.type, moved.mask.device.type, moved.keys) == ("meta", "meta", ["a"])
    assert pickle.loads(pickle.dumps(batch)).meta == [{"n": 1}]


@pytest.mark.parametrize("workers", [0, 2])
def test_loaders_with_workers(tokenized, workers) -> None:
    out, rows = tokenized(5, 4, text="so", odd={"a": [1, None]})
    data = load(out, ids="delayed", with_meta=True)
    loader = DataLoader(TokenStream(data), 2, collate_fn=Collate(data.vocabulary), num_workers=workers)
    batches = list(loader)
    assert all(isinstance(batch, Batch) for batch in batches)
    assert Counter(key for batch in batches for key in batch.keys) == Counter(row.key for row in rows)
    for batch in batches:
        for key, meta, ids, length in zip(batch.keys, batch.meta, batch.ids, batch.lengths, strict=True):
            assert meta == rows[int(key[2:])].meta
            assert torch.equal(ids[:, :length], data.by_key(key).value)
            assert (ids[:, length:] == data.vocabulary.padding).all()
