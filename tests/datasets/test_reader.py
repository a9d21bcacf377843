import pickle
import pydoc
import shutil
from collections import Counter
from dataclasses import replace
from itertools import chain, islice

import pytest
import torch
from torch.utils.data import DataLoader

from narrows import datasets
from narrows.datasets import TokenStream, load, shards
from narrows.datasets.shards import write_shard
from narrows.errors import InputError, MediaError
from narrows.tokenizers.ids import Vocabulary
from narrows.tokenizers.tokens import Latents, Tokens


@pytest.fixture(autouse=True)
def small_groups(monkeypatch):
    monkeypatch.setattr(shards, "GROUP_ROWS", 3)


def test_items_by_index_and_key(tokenized, samples) -> None:
    out, rows = tokenized(5, 0, 7)
    data = load(out)
    assert len(data) == 12
    assert data.keys == [row.key for row in rows]
    for index in (0, 11, 4, 5, -1, -12, 3):
        row = rows[index]
        wanted = Tokens(torch.from_numpy(row.values), samples.AUDIO.radices, row.extent, "m", "00" * 8)
        assert data[index] == wanted
        assert data.by_key(row.key) == wanted
        assert data.metadata(index) == row.meta
    assert len(data._cache) <= 4
    for index in (12, -13):
        with pytest.raises(IndexError, match="index below 12"):
            data[index]
    with pytest.raises(InputError, match="expected the key of an item, such as 'k/0000', got 'x'"):
        data.by_key("x")


def test_items_with_their_metadata(tokenized) -> None:
    out, rows = tokenized(2, 3, text="ü")
    plain, data = load(out, ids="delayed"), load(out, ids="delayed", with_meta=True)
    for index, row in enumerate(rows):
        assert (data[index].key, data[index].meta) == (row.key, row.meta)
        assert torch.equal(data[index].value, plain[index])
    assert data.columns == ("number", "text")
    tokens = load(out, with_meta=True)[1]
    assert (tokens.key, tokens.value) == ("k/0001", load(out)[1])


def test_slices_and_iteration(tokenized) -> None:
    out, rows = tokenized(2, 3)
    data = load(out, with_meta=True)
    for part in (slice(0, 3), slice(-2, None), slice(None, None, -2), slice(3, 1), slice(2, 99)):
        assert [each.key for each in data[part]] == [row.key for row in rows[part]]
    assert [each.key for each in data] == data.keys


def test_the_vocabulary_is_that_of_the_ids(tokenized, samples) -> None:
    out, _ = tokenized(1)
    shared = Vocabulary((8, 8, 20), shared=True, first=7)
    assert load(out).vocabulary == load(out, ids="raster").vocabulary == Vocabulary((8, 8, 20))
    data = load(out, ids="delayed", vocabulary=shared)
    assert data.vocabulary == shared
    assert torch.equal(data.unflatten(data[0], "delayed").codes, load(out)[0].codes)
    out, _ = tokenized(1, made=samples.LATENTS, name="latents")
    with pytest.raises(InputError, match="expected codes for a vocabulary"):
        load(out).vocabulary  # noqa: B018


def test_items_in_the_order_of_the_source(tmp_path, samples, monkeypatch) -> None:
    numbers_of = [[5, 9, 2], [], [7, 0]]  # with gaps, as where items failed
    for index, of_shard in enumerate(numbers_of):
        rows = [replace(samples.audio(f"k{n}", meta={"number": n}, seed=n), number=n) for n in of_shard]
        write_shard(tmp_path / f"{index:05d}-of-00003.parquet", rows, samples.AUDIO)
    data = load(tmp_path, order="source", with_meta=True)
    assert data.keys == [each.key for each in data] == ["k0", "k2", "k5", "k7", "k9"]
    assert data[-1].key == "k9"
    assert data.by_key("k5").key == data[data.index("k5")].key == "k5"
    assert data.metadata(1) == {"number": 2}
    assert [each.key for each in load(tmp_path, with_meta=True)] == ["k5", "k9", "k2", "k7", "k0"]
    ordered, stored = TokenStream(data, 1, window=2), TokenStream(load(tmp_path, with_meta=True), 1, window=2)
    assert [each.key for each in ordered] == [each.key for each in stored]
    with pytest.raises(InputError, match="expected an order of stored, source, got 'rows'"):
        load(tmp_path, order="rows")  # type: ignore[call-overload]


def test_images_and_latents(tokenized, samples) -> None:
    out, rows = tokenized(2, made=replace(samples.IMAGES, quality_index=3), name="images")
    assert torch.equal(load(out)[1].codes, torch.from_numpy(rows[1].values))
    assert load(out)[1].quality_index == 3
    out, rows = tokenized(2, made=samples.LATENTS, name="latents")
    latents = load(out)[1]
    assert isinstance(latents, Latents)
    assert latents.extent == rows[1].extent
    assert torch.equal(latents.values, torch.from_numpy(rows[1].values))
    with pytest.raises(InputError, match="got continuous latents"):
        load(out, ids="raster")


def test_ids_and_back(tokenized) -> None:
    out, _ = tokenized(4)
    tokens, vocabulary = load(out), Vocabulary((8, 8, 20), first=100)
    with pytest.raises(InputError, match="got only a vocabulary"):
        load(out, vocabulary=vocabulary)  # type: ignore[call-overload]
    for known in (None, vocabulary):
        data = load(out, ids="delayed", vocabulary=known)
        assert torch.equal(data[2], tokens[2].flatten("delayed", known or tokens.vocabulary))
        again = data.unflatten(data[2], "delayed", known)
        assert torch.equal(again.codes, tokens[2].codes)
        assert again.extent == replace(tokens[2].extent, samples=320 * again.codes.shape[2])


def test_unknown_patterns_are_refused_at_once(tokenized) -> None:
    out, _ = tokenized(1)
    with pytest.raises(InputError, match="expected a pattern of interleaved, raster, parallel, delayed, got 'delay'"):
        load(out, ids="delay")  # type: ignore[call-overload]


def test_unflatten_takes_arrays_and_lists(tokenized) -> None:
    out, _ = tokenized(1)
    data = load(out, ids="delayed")
    for ids in (data[0].numpy(), data[0].tolist()):
        assert data.unflatten(ids, "delayed") == data.unflatten(data[0], "delayed")


def test_unflatten_images(tokenized, samples) -> None:
    out, _ = tokenized(1, made=samples.IMAGES)
    data = load(out, ids="raster")
    with pytest.raises(InputError, match="expected inner=1 sizes"):
        data.unflatten(data[0], "raster")
    tokens = data.unflatten(data[0], "raster", inner=(4,))
    assert (tokens.extent.height, tokens.extent.width, tokens.codes.shape) == (32, 64, (1, 1, 2, 4))


def test_invalid_folders_are_refused(tokenized, tmp_path, samples) -> None:
    def refused(message, out, error=InputError):
        with pytest.raises(error, match=message) as caught:
            load(out)
        assert "\n" not in str(caught.value)

    refused("expected a folder with token shards", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    refused("got none; make them with", tmp_path / "empty")
    out, rows = tokenized(2, 2, 2)
    (out / "00000-of-00003.parquet.part").write_text("no shard")
    (out / "00001-of-00003.parquet").rename(tmp_path / "away")
    refused("expected 3 shards in .*, got 2; run the same codec tokenize again", out)
    assert load(out, allow_missing=True).keys == [row.key for row in (*rows[:2], *rows[4:])]
    write_shard(out / "00001-of-00003.parquet", rows[2:4], replace(samples.AUDIO, fingerprint="33" * 8))
    refused(r"00000-of-00003.parquet' of m \(0000.* and .*00001-of-00003.parquet' of m \(3333", out)
    shutil.copy(tmp_path / "away", out / "00001-of-00003.parquet")
    shutil.copy(tmp_path / "away", out / "00001-of-00004.parquet")
    refused("shards of one run in .*, got 00002-of-00003.parquet and 00001-of-00004.parquet", out)
    (out / "00001-of-00004.parquet").unlink()
    (out / "00001-of-00003.parquet").write_bytes(b"PAR1")
    refused("00001-of-00003.parquet' cannot be read", out, MediaError)


def test_data_is_pickled_without_rows(tokenized) -> None:
    out, _ = tokenized(3, 3)
    data = load(out)
    data[0]
    sent = pickle.dumps(data)
    assert len(sent) < 4000
    assert pickle.loads(sent)[5] == data[5]


@pytest.mark.slow
def test_spawned_workers_read_data(tokenized) -> None:
    out, _ = tokenized(3, 3)
    data = load(out)
    loader = DataLoader(load(out, ids="interleaved"), batch_size=None, num_workers=1, multiprocessing_context="spawn")
    assert [len(ids) for ids in loader] == [data[i].codes.numel() for i in range(6)]


class Recorder:
    """Stands for a worker of a DataLoader."""

    def __init__(self, number, workers):
        self.id, self.num_workers = number, workers


def numbers(stream, monkeypatch, worker=0, workers=1):
    monkeypatch.setattr("narrows.datasets.stream.get_worker_info", lambda: Recorder(worker, workers))
    return [row.meta["number"] for row in stream]


@pytest.fixture
def rows_of(tokenized):
    """Data whose items are the rows, numbered."""
    data = load(tokenized(8, 0, 11, 4)[0])
    data._convert = lambda row: row
    return data


@pytest.mark.parametrize(("world", "workers"), [(1, 1), (2, 1), (2, 3), (5, 1), (1, 30)])
@pytest.mark.parametrize("window", [1, 5, 100])
def test_each_item_once_per_epoch(rows_of, monkeypatch, world, workers, window) -> None:
    parts = [
        numbers(TokenStream(rows_of, 1, rank, world, window), monkeypatch, worker, workers)
        for rank in range(world)
        for worker in range(workers)
    ]
    assert Counter(chain.from_iterable(parts)) == Counter(range(23))
    lengths = [len(part) for part in parts]
    assert max(lengths) - min(lengths) <= 1
    ranks = [sum(lengths[rank * workers : (rank + 1) * workers]) for rank in range(world)]
    assert max(ranks) - min(ranks) <= 1


@pytest.mark.parametrize("workers", [0, 1, 3, 30])
@pytest.mark.parametrize("drop_last", [False, True])
def test_the_numbers_of_items_and_batches_of_ranks(tokenized, monkeypatch, workers, drop_last) -> None:
    data = load(tokenized(8, 0, 11, 4)[0], with_meta=True)
    count = max(1, workers)
    for rank, world in ((0, 1), (0, 2), (1, 2), (4, 5)):
        stream, batches, items = TokenStream(data, rank=rank, world=world), 0, 0
        for worker in range(count):
            part = len(numbers(stream, monkeypatch, worker, count))
            items += part
            batches += part // 4 if drop_last else -(-part // 4)
        assert (stream.num_items, stream.num_batches(4, workers, drop_last)) == (items, batches)
    with pytest.raises(InputError, match="expected a batch size from 1 and workers from 0, got 0 and 2"):
        stream.num_batches(0, 2)


def test_a_loader_makes_as_many_batches(tokenized) -> None:
    stream = TokenStream(load(tokenized(5, 4)[0], ids="delayed"))
    loader = DataLoader(stream, 2, num_workers=2, collate_fn=list)
    assert sum(1 for _ in loader) == stream.num_batches(2, 2) == 5


def test_the_order_depends_on_seed_and_epoch(rows_of, monkeypatch) -> None:
    def order(seed, epoch):
        stream = TokenStream(rows_of, seed, window=6)
        stream.set_epoch(epoch)
        return tuple(numbers(stream, monkeypatch))

    assert order(0, 0) == order(0, 0)
    assert len({order(0, 0), order(0, 1), order(1, 0), tuple(range(23))}) == 4
    mixed = [abs(a - b) for a, b in zip(order(3, 1), order(3, 1)[1:], strict=False)]
    assert sum(mixed) > 60


@pytest.mark.parametrize("taken", [0, 1, 6, 7, 22, 23])
def test_iterations_are_resumed(rows_of, monkeypatch, taken) -> None:
    whole, begun = TokenStream(rows_of, 4, window=6), TokenStream(rows_of, 4, window=6)
    for stream in (whole, begun):
        stream.set_epoch(2)
    wanted = numbers(whole, monkeypatch)
    monkeypatch.setattr("narrows.datasets.stream.get_worker_info", lambda: None)
    first = [row.meta["number"] for row in islice(begun, taken)]
    state = begun.state_dict()
    assert first == wanted[:taken]
    again = TokenStream(rows_of, 4, window=6)
    again.load_state_dict(pickle.loads(pickle.dumps(state)))
    assert numbers(again, monkeypatch) == wanted[taken:]
    assert numbers(again, monkeypatch) == wanted


def test_invalid_states_are_refused(rows_of, monkeypatch) -> None:
    state = {"seed": 0, "window": 4096, "items": len(rows_of), "epoch": 0, "parts": 2, "taken": 3}
    with pytest.raises(InputError, match="expected a state with window 9, as this stream has, got 4096"):
        TokenStream(rows_of, window=9).load_state_dict(state)
    with pytest.raises(InputError, match="expected a state with items"):
        TokenStream(rows_of).load_state_dict(state | {"items": 1})
    with pytest.raises(InputError, match="expected a state with seed 0, as this stream has, got None"):
        TokenStream(rows_of).load_state_dict({})
    with pytest.raises(InputError, match="got -1"):
        TokenStream(rows_of).set_epoch(-1)
    with pytest.raises(InputError, match="expected integers"):
        TokenStream(rows_of, seed=1.5)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="expected a state with seed 1, as this stream has, got 0"):
        TokenStream(rows_of, 1).load_state_dict(state)
    stream = TokenStream(rows_of)
    stream.load_state_dict(state)
    with pytest.raises(InputError, match="expected a state of 1 parts, got one of 2"):
        list(stream)
    with pytest.raises(InputError, match="rank 2 of 2"):
        TokenStream(rows_of, rank=2, world=2)


def test_workers_split_the_stream(tokenized) -> None:
    out, rows = tokenized(4, 5)
    stream = TokenStream(load(out), window=2)
    loader = DataLoader(stream, batch_size=None, num_workers=2)
    given = Counter(hash((tokens.codes.numpy().tobytes(), tokens.extent)) for tokens in loader)
    assert given == Counter(hash((row.values.tobytes(), row.extent)) for row in rows)


def test_the_public_names(tmp_path) -> None:
    assert all(getattr(datasets, name) for name in datasets.__all__)
    with pytest.raises(AttributeError, match="it has Batch, Collate"):
        datasets.lod  # noqa: B018
    page = pydoc.render_doc(datasets, renderer=pydoc.plaintext)
    assert all(f"class {name}(" in page or f" {name}(" in page for name in datasets.__all__)


def test_an_abandoned_iteration_does_not_affect_the_next(rows_of) -> None:
    stream = TokenStream(rows_of)
    whole = [row.key for row in stream]
    begun = iter(stream)
    for _ in range(3):
        next(begun)
    state = stream.state_dict()
    assert [row.key for row in stream] == whole
    stream.load_state_dict(state)
    assert [row.key for row in stream] == whole[3:]
    assert [row.key for row in stream] == whole
