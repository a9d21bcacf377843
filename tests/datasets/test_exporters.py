import io
import json
import shutil
import struct
import tarfile

import numpy as np
import pyarrow.dataset
import pytest
import torch
import yaml

from narrows.datasets import load
from narrows.datasets.exporters import EXPORTERS, export
from narrows.datasets.shards import read_shard, write_shard
from narrows.errors import InputError, MediaError
from narrows.tokenizers.ids import Vocabulary

LHOTSE_LEAVES_FILES_OPEN = "ignore::pytest.PytestUnraisableExceptionWarning"


@pytest.fixture
def place(tmp_path):
    return tmp_path / "to"


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("kind", EXPORTERS)
def test_equal_items_give_equal_files_and_existing_ones_are_kept(tokenized, tmp_path, kind) -> None:
    out, _ = tokenized(3, 2)
    export(load(out), kind, tmp_path / "a")
    export(load(out), kind, tmp_path / "b" / "c")
    assert tree(tmp_path / "a") == tree(tmp_path / "b" / "c")
    with pytest.raises(MediaError, match="is not empty; pass --force"):
        export(load(out), kind, tmp_path / "a")
    export(load(out), kind, tmp_path / "a", overwrite=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(MediaError, match="cannot be created"):
        export(load(out), kind, tmp_path / "file")


def test_invalid_options_are_refused(tokenized, place, samples) -> None:
    out, _ = tokenized(1)
    with pytest.raises(
        InputError, match="expected one of the formats hf, npy, webdataset, lhotse, megatron, got 'zip'"
    ):
        export(load(out), "zip", place)
    with pytest.raises(InputError, match="expected no pattern for npy"):
        export(load(out), "npy", place, pattern="delayed")
    with pytest.raises(InputError, match=r"expected a pattern of interleaved, .*, got 'delay'"):
        export(load(out), "megatron", place / "new", pattern="delay")
    assert not (place / "new").exists()
    out, _ = tokenized(1, made=samples.LATENTS, name="latents")
    with pytest.raises(InputError, match="got continuous latents"):
        export(load(out), "megatron", place)


@pytest.mark.parametrize("kind", ["AUDIO", "IMAGES", "LATENTS"])
def test_npy(tokenized, place, samples, kind) -> None:
    out, rows = tokenized(2, 1, made=getattr(samples, kind))
    export(load(out), "npy", place)
    lines = [json.loads(line) for line in (place / "index.jsonl").read_text().splitlines()]
    assert [line["file"] for line in lines][-1] == "00001-of-00002/000000.npy"
    for line, row in zip(lines, rows, strict=True):
        array = np.load(place / line["file"])
        assert np.array_equal(array, row.values)
        assert array.itemsize < 8
        assert (line["key"], line["meta"], line["extent"]["channels"]) == (row.key, row.meta, row.extent.channels)
    assert json.loads((place / "info.json").read_text())["model"] == "m"


def test_webdataset(tokenized, place) -> None:
    out, rows = tokenized(2, 1)
    export(load(out), "webdataset", place)
    with tarfile.open(place / "00000-of-00002.tar") as tar:
        assert tar.getnames() == ["000000.npy", "000000.json", "000001.npy", "000001.json"]
        assert {(each.mtime, each.uid, each.uname) for each in tar} == {(0, 0, "")}
        array = np.load(io.BytesIO(tar.extractfile("000001.npy").read()))
        assert np.array_equal(array, rows[1].values)
        assert json.load(tar.extractfile("000001.json"))["key"] == "k/0001"


@pytest.mark.parametrize("pattern", ["interleaved", "parallel", "delayed"])
def test_megatron(tokenized, place, pattern) -> None:
    out, rows = tokenized(2, 0, 3)
    export(load(out), "megatron", place, pattern=pattern)
    index = (place / "tokens.idx").read_bytes()
    assert index[:9] == b"MMIDIDX\x00\x00"
    version, code, sequences, documents = struct.unpack_from("<QBQQ", index, 9)
    assert (version, code, sequences, documents) == (1, 8, 5, 6)
    at = 9 + 8 + 1 + 8 + 8
    lengths = np.frombuffer(index, "<i4", sequences, at)
    places = np.frombuffer(index, "<i8", sequences, at + 4 * sequences)
    firsts = np.frombuffer(index, "<i8", documents, at + 12 * sequences)
    assert len(index) == at + 12 * sequences + 8 * documents
    assert firsts.tolist() == list(range(6))
    ids = np.fromfile(place / "tokens.bin", "<u2")
    assert len(ids) == lengths.sum()
    facts = json.loads((place / "vocabulary.json").read_text())
    known = Vocabulary(tuple(facts["sizes"]), facts["shared"], facts["first"])
    assert (facts["pattern"], facts["size"], facts["begin"], facts["offsets"][0]) == (pattern, known.size, 1, 3)
    for row, length, start in zip(rows, lengths, places, strict=True):
        item = torch.from_numpy(ids[start // 2 : start // 2 + length].astype(np.int64))
        if pattern != "interleaved":
            item = item.view(-1, 3).T
        again = load(out).unflatten(known.remove_begin_end(item), pattern)
        assert np.array_equal(again.codes, row.values)


def test_hf(tokenized, place, samples) -> None:
    out, rows = tokenized(2, 1, odd=None)
    first = out / "00000-of-00002.parquet"
    first.unlink()
    others = [samples.audio(row.key, meta={"number": 0.5, "more": "x", "a b": 1}) for row in rows[:2]]
    write_shard(first, others, samples.AUDIO)
    export(load(out), "hf", place)
    schemas = {str(pyarrow.parquet.read_schema(path).remove_metadata()) for path in (place / "data").iterdir()}
    assert len(schemas) == 1
    table = pyarrow.dataset.dataset(place / "data", format="parquet").to_table()
    assert table["key"].to_pylist() == [row.key for row in rows]
    assert table["meta"][2].as_py() == {"a b": None, "more": None, "number": 2.0}
    assert [row.key for row in read_shard(place / "data" / first.name)] == ["k/0000", "k/0001"]
    _, head, body = (place / "README.md").read_text().split("---\n", 2)
    features = yaml.safe_load(head)["dataset_info"]["features"]
    assert [feature["name"] for feature in features] == table.column_names
    assert features[1] == {"name": "codes", "list": "int16"}
    assert {"name": "number", "dtype": "float64"} in features[-1]["struct"]
    assert "3 items of audio, as codes of the model m" in body
    assert "8, 8, 20" in body


ODD_META = {
    "text": "so", "speaker": "7", "language": 3, "id": "x", "codes": 1, "duration": 9.5, "channel": 5, "nothing": None,
    "array": {"array": {"shape": [1]}, "temporal_dim": 0}, "shape": {"shape": [1]}, "list": [{"sources": []}],
    "recording": {"id": "a", "sources": [], "sampling_rate": 8}, "ü": {"width": 3},
}  # fmt: skip


@pytest.mark.filterwarnings(LHOTSE_LEAVES_FILES_OPEN)
@pytest.mark.parametrize("odd", [False, True])
def test_lhotse_reads_the_export(tokenized, place, odd) -> None:
    lhotse = pytest.importorskip("lhotse", reason="needs the package lhotse")
    out, rows = tokenized(2, 0, 3, **(ODD_META if odd else {}))
    export(load(out), "lhotse", place)
    cuts = list(lhotse.CutSet.from_shar(in_dir=place / "shar"))
    assert [cut.id for cut in cuts] == [row.key for row in rows]
    for cut, row in zip(cuts, rows, strict=True):
        assert np.array_equal(cut.load_codes(), row.values[0].T)
        assert cut.custom["number"] == row.meta["number"]
        assert (cut.custom["samples"], cut.sampling_rate) == (row.extent.samples, 16_000)
        assert cut.duration == pytest.approx(row.values.shape[2] * 0.02)
        part = cut.truncate(offset=0.02, duration=0.02)
        assert np.array_equal(part.load_codes(), row.values[0].T[1:2])
    if odd:
        assert cuts[0].supervisions[0].text == "so"
        assert cuts[0].supervisions[0].speaker == "7"
        assert cuts[0].custom["codes_"] == 1
    codes, lengths = lhotse.dataset.collation.collate_custom_field(lhotse.CutSet.from_cuts(cuts), "codes", -1)
    assert lengths.tolist() == [row.values.shape[2] for row in rows]
    assert codes.shape == (5, max(lengths), 3)


@pytest.mark.filterwarnings(LHOTSE_LEAVES_FILES_OPEN)
@pytest.mark.parametrize(("value", "text"), [(17, "17"), (1.5, "1.5"), ("ü", "ü"), (True, "true"), ([1], None)])
def test_lhotse_gets_numbers_in_a_supervision_as_text(tokenized, place, value, text) -> None:
    lhotse = pytest.importorskip("lhotse", reason="needs the package lhotse")
    out, _ = tokenized(1, speaker=value, text="so", language=value)
    export(load(out), "lhotse", place)
    (cut,) = lhotse.CutSet.from_shar(in_dir=place / "shar")
    (supervision,) = cut.supervisions
    assert (supervision.speaker, supervision.text, supervision.language) == (text, "so", text)
    assert cut.custom["speaker"] == value


@pytest.mark.filterwarnings(LHOTSE_LEAVES_FILES_OPEN)
def test_lhotse_takes_channels_and_keys_that_are_paths(samples, tmp_path) -> None:
    lhotse = pytest.importorskip("lhotse", reason="needs the package lhotse")
    for name, key in (("odd", "ä.b/c.d e"), ("long", "x/" * 200 + "y")):
        (tmp_path / name).mkdir()
        row = samples.audio(key, channels=2)
        write_shard(tmp_path / name / "00000-of-00001.parquet", [row], samples.AUDIO)
        export(load(tmp_path / name), "lhotse", tmp_path / name / "to")
        (cut,) = lhotse.CutSet.from_shar(in_dir=tmp_path / name / "to" / "shar")
        assert (cut.id, cut.channel) == (key, [0, 1])
        assert np.array_equal(cut.load_codes(), row.values.transpose(2, 0, 1))
    for number, key in enumerate(("a//b", "/", "./a", "a/", "")):
        (tmp_path / str(number)).mkdir()
        write_shard(tmp_path / str(number) / "00000-of-00001.parquet", [samples.audio(key)], samples.AUDIO)
        with pytest.raises(InputError, match="expected keys like a/b for lhotse"):
            export(load(tmp_path / str(number)), "lhotse", tmp_path / "to")
        assert not list((tmp_path / "to" / "shar").iterdir())
        shutil.rmtree(tmp_path / "to")


def test_lhotse_takes_no_images(tokenized, place, samples) -> None:
    out, _ = tokenized(1, made=samples.IMAGES)
    with pytest.raises(InputError, match="expected audio for lhotse, got image"):
        export(load(out), "lhotse", place)


def test_hugging_face_datasets_streams_shards_as_they_are(tokenized, tmp_path) -> None:
    datasets = pytest.importorskip("datasets")
    out, rows = tokenized(2, 1)
    files = str(out / "*.parquet")
    stream = datasets.load_dataset(
        "parquet", data_files=files, streaming=True, split="train", cache_dir=str(tmp_path / "cache")
    )
    for found, row in zip(stream, rows, strict=True):
        assert (found["key"], found["meta"]) == (row.key, row.meta)
        assert np.array_equal(np.array(found["codes"]).reshape(-1, 3), row.values[0].T)


def test_hugging_face_datasets_reads_the_export(tokenized, place) -> None:
    datasets = pytest.importorskip("datasets")
    out, rows = tokenized(2, 1)
    export(load(out), "hf", place)
    read = datasets.load_dataset(str(place), cache_dir=str(place.parent / "cache"))["train"]
    assert read["key"] == [row.key for row in rows]
    assert read[2]["codes"] == np.moveaxis(rows[2].values, 1, -1).reshape(-1).tolist()


@pytest.mark.parametrize("kind", ["hf", "npy", "webdataset", "lhotse"])
def test_overwriting_removes_shards_of_the_earlier_export(tokenized, tmp_path, kind) -> None:
    (three, _), (one, _) = tokenized(3, 2, name="three"), tokenized(1, 2, name="one")
    export(load(one), kind, tmp_path / "fresh")
    export(load(three), kind, tmp_path / "to")
    (tmp_path / "to" / "mine-of-all.txt").write_text("kept")
    export(load(one), kind, tmp_path / "to", overwrite=True)
    assert tree(tmp_path / "to") == tree(tmp_path / "fresh") | {"mine-of-all.txt": b"kept"}


@pytest.mark.parametrize("kind", EXPORTERS)
def test_exported_shards_are_never_overwritten(tokenized, tmp_path, kind) -> None:
    (ours, _), (other, _) = tokenized(2, name="data"), tokenized(1, 1, name="other")
    before = tree(tmp_path)
    for place in (ours, tmp_path):
        with pytest.raises(InputError, match="without the shards that are exported"):
            export(load(ours), kind, place, overwrite=True)
    assert tree(tmp_path) == before
    export(load(ours), kind, other, overwrite=True)  # a folder of another data set keeps its shards
    assert before.items() <= tree(tmp_path).items()
