import errno
import json
import math
import os
import resource
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from narrows.bitstream import AudioExtent
from narrows.datasets import shards
from narrows.datasets.base import DatasetInfo
from narrows.datasets.shards import read_shard, write_shard
from narrows.errors import InputError, MediaError

META = {
    "text": 'grüße, \n"x"',
    "speaker": 12,
    "snr": 1.5,
    "clean": True,
    "tags": ["a", {"b": None}],
    "": "no name",
    "big": 1 << 70,
    "odd": "\udc80",
    "none": None,
}


def rows_of(samples, made: DatasetInfo, count: int = 3):
    if made.medium == "audio":
        return [samples.audio(f"a/{i}", 1 + 700 * i, 1 + i % 2, 22_050, META, i) for i in range(count)]
    return [samples.image(f"a/{i}", 20 + i, 40, made, META, i) for i in range(count)]


@pytest.mark.parametrize("kind", ["AUDIO", "IMAGES", "LATENTS"])
def test_round_trip(tmp_path, kind, samples) -> None:
    made = getattr(samples, kind)
    rows = rows_of(samples, made)
    write_shard(tmp_path / "s.parquet", iter(rows), made)
    again = read_shard(tmp_path / "s.parquet")
    assert again.info == made
    assert again.keys() == ["a/0", "a/1", "a/2"]
    there = {name: value for name, value in META.items() if value is not None}
    assert all(samples.same(replace(row, meta=there), read) for row, read in zip(rows, again, strict=True))


def test_equal_items_give_equal_bytes(tmp_path, samples) -> None:
    for name in "ab":
        write_shard(tmp_path / name, rows_of(samples, samples.AUDIO, 30), samples.AUDIO)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_codes_are_frame_major_and_narrow(tmp_path, samples) -> None:
    row = samples.audio(samples=320 * 5, channels=2)
    write_shard(tmp_path / "s", [row], samples.AUDIO)
    table = pq.read_table(tmp_path / "s")
    assert table.schema.field("codes").type == pa.list_(pa.int16())
    assert table["frames"].to_pylist() == [5]
    wanted = [row.values[c, k, f] for c in range(2) for f in range(5) for k in range(3)]
    assert table["codes"][0].as_py() == wanted


@pytest.mark.parametrize(("size", "bits"), [(1 << 15, 16), ((1 << 15) + 1, 32), (1 << 31, 32), (1 << 32, 64)])
def test_integers_hold_every_code(tmp_path, size, bits, samples) -> None:
    digits = (size,) if size < 4096 else tuple(_factors(size))
    made = DatasetInfo("audio", "codes", "m", "00" * 8, (digits,), 1, (320,), 1, 16_000)
    row = replace(samples.audio(samples=640), values=np.array([[[0, math.prod(digits) - 1]]]))
    write_shard(tmp_path / "s", [row], made)
    assert pq.read_schema(tmp_path / "s").field("codes").type.value_type.bit_width == bits
    assert samples.same(next(iter(read_shard(tmp_path / "s"))), row)


def _factors(size):
    """MixedRadix of at most 4096 whose product is at least the size."""
    while size > 4096:
        yield 4096
        size = -(-size // 4096)
    yield size


def test_types_of_meta(tmp_path, samples) -> None:
    metas = [{"a": 1, "b": 1, "c": 1, "d": None}, {"a": 2.5, "b": "x", "c": True}, {"a": -(1 << 62), "c": False}]
    write_shard(tmp_path / "s", [samples.audio(str(i), meta=meta) for i, meta in enumerate(metas)], samples.AUDIO)
    kinds = {field.name: str(field.type) for field in pq.read_schema(tmp_path / "s").field("meta").type}
    assert kinds == {"a": "double", "b": "string", "c": "string"}
    read = [dict(row.meta) for row in read_shard(tmp_path / "s")]
    assert read == [{"a": 1.0, "b": 1, "c": 1}, {"a": 2.5, "b": "x", "c": True}, {"a": -(2.0**62), "c": False}]


def test_empty_shard(tmp_path, samples) -> None:
    write_shard(tmp_path / "s", [], samples.AUDIO)
    assert (len(read_shard(tmp_path / "s")), list(read_shard(tmp_path / "s"))) == (0, [])


def test_rows_are_grouped(tmp_path, monkeypatch, samples) -> None:
    monkeypatch.setattr(shards, "GROUP_ROWS", 4)
    write_shard(tmp_path / "s", rows := [samples.audio(str(i), 320, seed=i) for i in range(10)], samples.AUDIO)
    assert read_shard(tmp_path / "s").groups == (4, 4, 2)
    assert all(map(samples.same, rows, read_shard(tmp_path / "s"), strict=True)) if hasattr(map, "strict") else True
    monkeypatch.setattr(shards, "GROUP_VALUES", 6)
    write_shard(tmp_path / "t", rows, samples.AUDIO)
    assert read_shard(tmp_path / "t").groups == (2,) * 5
    assert [row.key for row in read_shard(tmp_path / "t")] == [row.key for row in rows]


def test_memory_is_limited_to_a_group(tmp_path, monkeypatch, samples) -> None:
    """50 rows are written while no more than those of a group, and a few, are alive."""
    monkeypatch.setattr(shards, "GROUP_VALUES", 1 << 16)
    alive, most = 0, 0
    row = replace(samples.audio(), values=np.zeros((1, 3, 1 << 12), np.int16))

    class Counted(np.ndarray):
        def __del__(self):
            nonlocal alive
            alive -= self.base is None

    def rows():
        nonlocal alive, most
        for i in range(50):
            values = Counted(row.values.shape, np.int16)
            values[:] = 0
            alive += 1
            most = max(most, alive)
            yield replace(row, key=str(i), values=values)
            del values

    write_shard(tmp_path / "s", rows(), samples.AUDIO)
    assert len(read_shard(tmp_path / "s")) == 50
    assert most < 10


FAULTS = {
    "twice": (lambda s: [s.audio("a"), s.audio("b"), s.audio("a")], "got the key 'a' twice"),
    "medium": (lambda s: [s.image()], "expected items of audio, got 'a' of image"),
    "signals": (lambda s: [replace(s.audio(), extent=AudioExtent(16_000, 1000, 2))], "expected values"),
    "depth": (lambda s: [replace(s.audio(), values=s.audio().values[:, :2])], "expected values"),
    "code": (lambda s: [replace(s.audio(), values=s.audio().values + 8)], "in codebook 0, got"),
    "floats": (
        lambda s: [replace(s.audio(), values=s.audio().values.astype("f4"))],
        "expected codes as integers, got float32",
    ),
    "key": (lambda s: [s.audio("\udc80")], "as text in UTF-8"),
    "name": (lambda s: [s.audio(meta={"\udc80": 1})], "as text in UTF-8"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_items_that_do_not_fit_are_refused(tmp_path, fault, samples) -> None:
    rows, message = FAULTS[fault]
    with pytest.raises(InputError, match=message):
        write_shard(tmp_path / "s", rows(samples), samples.AUDIO)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("values", [np.full((1, 4, 1, 1), np.inf, "f2"), np.zeros((1, 4, 1, 1), "f4")])
def test_latents_must_be_finite_float16(tmp_path, values, samples) -> None:
    with pytest.raises(InputError, match="expected finite float16"):
        write_shard(tmp_path / "s", [replace(samples.image(made=samples.LATENTS), values=values)], samples.LATENTS)


def test_a_full_disk_is_reported_and_leaves_no_file(tmp_path, monkeypatch, samples) -> None:
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pa.ipc, "new_stream", full)
    with pytest.raises(MediaError, match="could not be written to its end"):
        write_shard(tmp_path / "s", [samples.audio()], samples.AUDIO)
    monkeypatch.undo()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MediaError, match="could not be written to its end"):
        write_shard(tmp_path / "s", [samples.audio()], samples.AUDIO)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("limit", [0, 300, 6000])
def test_file_size_limits_leave_no_output(tmp_path, samples, limit) -> None:
    rows = [samples.audio(str(seed), 100_000, seed=seed) for seed in range(10)]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
    try:
        with pytest.raises(MediaError, match="could not be written to its end"):
            write_shard(tmp_path / "s", rows, samples.AUDIO)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "change",
    [
        {"depth": 2},
        {"radices": ()},
        {"sample_rate": 0},
        {"sample_rate": None},
        {"strides": (0,)},
        {"strides": (320, 320)},
        {"channels": 0},
        {"kind": "latents"},
    ],
)
def test_invalid_info_is_refused(tmp_path, samples, change) -> None:
    with pytest.raises(InputError):
        write_shard(tmp_path / "s", [], replace(samples.AUDIO, **change))


def test_existing_shards_are_kept(tmp_path, samples) -> None:
    write_shard(tmp_path / "s", [samples.audio()], samples.AUDIO)
    with pytest.raises(MediaError, match="exists already"):
        write_shard(tmp_path / "s", [samples.audio("b")], samples.AUDIO)
    write_shard(tmp_path / "s", [samples.audio("b")], samples.AUDIO, overwrite=True)
    assert read_shard(tmp_path / "s").keys() == ["b"]


def everything(path):
    return [read_shard(path).info, *read_shard(path)]


@pytest.mark.parametrize("data", [b"x", b"PAR1", b"PAR1" + bytes(100) + b"PAR1", b"PAR1" + b"\xff" * 12 + b"PAR1"])
def test_files_that_are_not_parquet_are_refused(tmp_path, data, samples) -> None:
    (tmp_path / "s.parquet").write_bytes(data)
    with pytest.raises(MediaError, match=r"s\.parquet' cannot be read"):
        everything(tmp_path / "s.parquet")
    with pytest.raises(MediaError, match="no file"):
        everything(tmp_path / "t.parquet")


def test_other_tables_are_refused(tmp_path, samples) -> None:
    def refused(table, message):
        pq.write_table(table, tmp_path / "t")
        with pytest.raises(MediaError, match=message):
            everything(tmp_path / "t")

    write_shard(tmp_path / "s", [samples.audio()], samples.AUDIO)
    table = pq.read_table(tmp_path / "s")
    refused(pa.table({"a": [1]}), "it holds no tokens of this library")
    refused(table.drop_columns(["samples"]), "columns do not fit")
    refused(table.set_column(0, "key", pa.array([None], pa.string())), "its column key has missing values")
    refused(table.set_column(2, "frames", pa.array([5], pa.int32())), "12 values for a grid")
    refused(table.set_column(2, "frames", pa.array([-4], pa.int32())), "12 values for a grid")
    refused(table.set_column(5, "channels", pa.array([1 << 40])), "expected channels of the audio")
    refused(table.set_column(1, "codes", pa.array([[8] * 12], pa.list_(pa.int16()))), "in codebook 0, got 8")
    refused(table.set_column(1, "codes", pa.array([[None] * 12], pa.list_(pa.int16()))), "codes has missing values")
    changed = {name: text.replace(b"16000", b"16001") for name, text in table.schema.metadata.items()}
    refused(table.replace_schema_metadata(changed), "metadata was changed")


def test_a_later_format_is_refused(tmp_path, monkeypatch, samples) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("narrows.datasets.arrow_columns.FORMAT", 5)
        write_shard(tmp_path / "s", [samples.audio()], samples.AUDIO)
    with pytest.raises(MediaError, match="format 5, this version reads up to 4: upgrade narrows"):
        read_shard(tmp_path / "s")


def test_damage_is_detected_or_harmless(tmp_path, samples) -> None:
    """One byte after another is changed: the file is refused, or says what it message."""
    path = tmp_path / "s"
    write_shard(path, rows_of(samples, samples.AUDIO), samples.AUDIO)
    data, whole = path.read_bytes(), everything(path)
    unnoticed = 0
    places = range(0, len(data), 29)
    for place in places:
        path.write_bytes(data[:place] + bytes([data[place] ^ (1 << place % 8)]) + data[place + 1 :])
        try:
            read = everything(path)
        except MediaError:
            continue
        unnoticed += 1
        assert read[0] == whole[0]
        assert all(map(samples.same, read[1:], whole[1:])), place
    assert unnoticed < len(places) // 2
    for length in range(0, len(data), 99):
        path.write_bytes(data[:length])
        with pytest.raises(MediaError):
            everything(path)


def test_metadata_is_json(tmp_path, samples) -> None:
    write_shard(tmp_path / "s", [samples.audio()], samples.AUDIO)
    metadata = json.loads(pq.read_schema(tmp_path / "s").metadata[b"narrows"])
    assert metadata["info"]["radices"] == [[8], [8], [5, 4]]
    assert (metadata["info"]["model"], metadata["format"]) == ("m", 4)
