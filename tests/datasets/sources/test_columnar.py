import os

import pyarrow
import pytest
from pyarrow import ipc, parquet

from narrows.datasets.sources import columnar, list_items, open_item, reading
from narrows.errors import MediaError

BYTES = [b"%d" % index * (index + 1) for index in range(10)]
HELD = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})


def write(path, columns, rows=4):
    """A table as the kind of file that the suffix names, `rows` to a group or batch."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pyarrow.table(columns)
    if path.suffix == ".parquet":
        parquet.write_table(table, path, row_group_size=rows)
    else:
        with ipc.new_stream(path, table.schema) as stream:
            stream.write_table(table, max_chunksize=rows)
    return path


def struct(values, paths=None):
    paths = paths or [f"{index}.flac" for index in range(len(values))]
    rows = [{"bytes": value, "path": path} for value, path in zip(values, paths, strict=True)]
    return pyarrow.array(rows, HELD)


@pytest.fixture(params=[".parquet", ".arrow"])
def suffix(request):
    return request.param


@pytest.mark.parametrize("column", [pyarrow.array(BYTES), pyarrow.array(BYTES, pyarrow.large_binary()), struct(BYTES)])
@pytest.mark.parametrize("name", ["audio", "image", "anything"])
def test_columns_of_bytes(tmp_path, content, suffix, column, name):
    ids = pyarrow.array([f"k{9 - index}" for index in range(10)])
    path = write(tmp_path / f"a{suffix}", {"id": ids, name: column, "n": range(10), "x": [0.5] * 10})
    found = list_items(str(path), "image" if name == "image" else "audio")
    assert [item.key for item in found] == [f"k{index}" for index in range(10)]
    assert [content(item) for item in found] == BYTES[::-1]
    of_path = {"path": "7.flac"} if pyarrow.types.is_struct(column.type) else {}
    assert found[2].meta == {"n": 7, "x": 0.5} | of_path


def test_sizes_are_known_without_reading(tmp_path, suffix):
    found = list_items(str(write(tmp_path / f"a{suffix}", {"audio": struct([b"x" * 5_000] * 8)})), "audio")
    if suffix == ".arrow":
        assert [item.location.size for item in found] == [5_000] * 8
    else:  # of the row group, which may be packed
        assert len({item.location.size for item in found}) == 1


def test_rows_without_keys_are_numbered(tmp_path, suffix):
    for name in ("b", "a"):
        write(tmp_path / "d" / f"{name}{suffix}", {"audio": struct(BYTES[:2])})
    found = list_items(str(tmp_path / "d"), "audio")
    assert [item.key for item in found] == ["a/00000000", "a/00000001", "b/00000000", "b/00000001"]


def test_columns_of_paths(tmp_path, content, suffix):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x.wav").write_bytes(b"X")
    path = write(tmp_path / f"a{suffix}", {"path": ["d/x.wav", "gone.wav"], "id": [2, 1], "text": ["a", None]})
    missing, there = list_items(str(path), "audio")
    assert (there.key, there.meta, there.location.size) == ("2", {"text": "a"}, 1)
    assert content(there) == b"X"
    assert (missing.location.row, missing.location.size) == (None, None)


def test_a_path_is_used_where_bytes_are_missing(tmp_path, content, suffix):
    (tmp_path / "x.wav").write_bytes(b"X")
    values = struct([None, b"here", None, b""], ["x.wav", "y.wav", None, None])
    found = list_items(str(write(tmp_path / f"a{suffix}", {"audio": values})), "audio")
    assert [content(item) for item in found] == [b"X", b"here", b"", b""]
    assert open_item(found[0]) == os.path.join(tmp_path, "x.wav")


def test_caches_beside_the_data_are_ignored(tmp_path):
    write(tmp_path / "data-00000-of-00001.arrow", {"audio": struct(BYTES[:1])})
    write(tmp_path / "cache-0123.arrow", {"audio": struct(BYTES[:1])})
    (tmp_path / "state.json").write_text("{}")
    assert [item.key for item in list_items(str(tmp_path), "audio")] == ["data-00000-of-00001/00000000"]


@pytest.mark.parametrize(
    "columns",
    [
        {"audio": [1, 2], "text": ["a", "b"]},
        {"image": ["a.png"]},
        {"audio": [{"array": [0.5], "sampling_rate": 16_000}]},
        {"a": [b"x"], "b": [b"y"]},
        {},
    ],
)
def test_tables_without_a_column_of_media_are_refused(tmp_path, refusal, suffix, columns):
    path = write(tmp_path / f"a{suffix}", columns or {"none": pyarrow.array([0], pyarrow.int8())})
    message = refusal(list_items, str(path), "audio")
    assert f"a{suffix}', got " in message
    assert "expected a column audio or audio_filepath or path or file" in message


@pytest.mark.parametrize("kept", [0, 100, 0.5])
def test_truncated_tables_are_refused(tmp_path, refusal, suffix, kept):
    path = write(tmp_path / f"a{suffix}", {"audio": pyarrow.array(BYTES)})
    data = path.read_bytes()
    path.write_bytes(data[: kept if isinstance(kept, int) else int(len(data) * kept)])
    assert "cannot be read as a table" in refusal(list_items, str(path), "audio")


def test_values_that_json_cannot_hold_become_null(tmp_path, suffix):
    values = {"audio": [b"x"], "x": [float("nan")], "when": pyarrow.array([0], pyarrow.timestamp("s")), "b": [True]}
    (item,) = list_items(str(write(tmp_path / f"a{suffix}", values)), "audio")
    assert item.meta == {"x": None, "b": True}


def test_rows_are_read_from_front_to_back_once(tmp_path, content, suffix, monkeypatch):
    path = write(tmp_path / f"a{suffix}", {"audio": pyarrow.array(BYTES)}, rows=2)
    found = list_items(str(path), "audio")
    begun, cells = [], columnar.cells
    monkeypatch.setattr(reading, "CACHED_BATCHES", 2)
    monkeypatch.setattr(columnar, "cells", lambda *place: begun.append(place[2]) or cells(*place))
    order = [1, 0, 3, 2, 5, 4, 8, 7]  # as threads take them
    assert [content(found[row]) for row in order] == [BYTES[row] for row in order]
    assert begun == [1]
    assert content(found[0]) == BYTES[0]
    assert begun == [1, 0]


def test_changed_tables_are_read_again_or_refused(tmp_path, content, refusal, suffix):
    path = write(tmp_path / f"a{suffix}", {"audio": pyarrow.array(BYTES)})
    found = list_items(str(path), "audio")
    assert content(found[9]) == BYTES[9]
    write(path, {"audio": pyarrow.array([b"other"])})
    os.utime(path, ns=(1, 1))
    assert content(found[0]) == b"other"
    assert "before row 9" in refusal(open_item, found[9], error=MediaError)
    path.unlink()
    assert "a/00000000' cannot be read" in refusal(open_item, found[0], error=MediaError)


def test_wrong_offsets_are_refused(tmp_path, refusal):
    path = write(tmp_path / "a.arrow", {"audio": pyarrow.array([b"a" * 10, b"b" * 10])}, rows=2)
    data = path.read_bytes()
    offsets = b"".join(number.to_bytes(4, "little") for number in (0, 10, 20))
    assert data.count(offsets) == 1
    path.write_bytes(data.replace(offsets, offsets[:8] + (1 << 30).to_bytes(4, "little")))
    assert "cannot be read as a table" in refusal(list_items, str(path), "audio")


def test_categories_lists_and_structs_are_copied_without_infinities(tmp_path, suffix):
    columns = {
        "audio": pyarrow.array(BYTES[:2]),
        "speaker": pyarrow.array(["a", "b"]).dictionary_encode(),
        "words": pyarrow.array([["so", "it"], []]),
        "box": pyarrow.array([{"x": 1, "y": [0.5, float("inf")]}, None]),
        "gain": pyarrow.array([float("-inf"), 2.0]),
        "when": pyarrow.array([0, 1], pyarrow.timestamp("s")),
    }
    one, two = list_items(str(write(tmp_path / f"a{suffix}", columns)), "audio")
    assert one.meta == {"speaker": "a", "words": ["so", "it"], "box": {"x": 1, "y": [0.5, None]}, "gain": None}
    assert two.meta == {"speaker": "b", "words": [], "box": None, "gain": 2.0}


def test_bytes_beside_a_path_are_used(tmp_path, content, suffix):
    columns = {"path": pyarrow.array(["x.wav", "y.wav"]), "bytes": pyarrow.array(BYTES[:2])}
    found = list_items(str(write(tmp_path / f"a{suffix}", columns)), "audio")
    assert [content(item) for item in found] == BYTES[:2]
    assert [item.meta for item in found] == [{"path": "x.wav"}, {"path": "y.wav"}]


def test_two_columns_of_one_name_are_refused(tmp_path, refusal, suffix):
    table = pyarrow.table(
        [pyarrow.array(BYTES), pyarrow.array(range(10)), pyarrow.array(range(10))], ["audio", "n", "n"]
    )
    path = tmp_path / f"a{suffix}"
    if suffix == ".parquet":
        parquet.write_table(table, path)
    else:
        with ipc.new_stream(path, table.schema) as stream:
            stream.write_table(table)
    assert "expected columns with different names" in refusal(list_items, str(path), "audio")


def test_shared_values_take_memory_once(tmp_path, content, refusal):
    def shared(value):
        return pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 1000, pyarrow.int32()), pyarrow.array([value]))

    options = {"compression": "zstd", "dictionary_pagesize_limit": 1 << 30, "store_schema": False}
    parquet.write_table(pyarrow.table({"audio": shared(bytes(8 << 20))}), tmp_path / "a.parquet", **options)
    before = pyarrow.total_allocated_bytes()
    found = list_items(str(tmp_path / "a.parquet"), "audio")
    assert len(content(found[3])) == 8 << 20
    assert pyarrow.total_allocated_bytes() - before < 200 << 20  # of 8000 MiB
    texts = {"audio": pyarrow.array([b"x"] * 1000), "text": shared("x" * (20 << 20))}
    parquet.write_table(pyarrow.table(texts), tmp_path / "b.parquet", **options)
    assert "a text of more than 1048576 bytes" in refusal(list_items, str(tmp_path / "b.parquet"), "audio")


@pytest.mark.parametrize("kind", [pyarrow.string(), pyarrow.large_string()])
def test_paths_of_either_type_are_relative_to_the_table(tmp_path, content, suffix, kind):
    (tmp_path / "x.wav").write_bytes(b"X")
    (item,) = list_items(str(write(tmp_path / f"a{suffix}", {"audio": pyarrow.array(["x.wav"], kind)})), "audio")
    assert item.location.path == str(tmp_path / "x.wav")
    assert content(item) == b"X"


@pytest.mark.parametrize("column", ["audio", "text"])
def test_invalid_text_is_refused(tmp_path, refusal, suffix, column):
    text = pyarrow.Array.from_buffers(
        pyarrow.string(), 1, [None, pyarrow.py_buffer(bytes([0, 0, 0, 0, 2, 0, 0, 0])), pyarrow.py_buffer(b"\xff\xfe")]
    )
    columns = {"audio": pyarrow.array([b"A"]), "text": pyarrow.array(["a"])} | {column: text}
    assert "cannot be read as a table" in refusal(list_items, str(write(tmp_path / f"a{suffix}", columns)), "audio")
