import os

import pytest

from narrows.datasets.sources import iterate_items, list_items
from narrows.errors import InputError


def keys_of(found):
    return [item.key for item in found]


def test_one_file_is_a_source(folder, content):
    source = folder({"a.wav": b"x"})
    (item,) = list_items(str(source / "a.wav"), "audio")
    assert item.key == "a"
    assert content(item) == b"x"


def test_keys_of_globs_start_after_the_fixed_part(folder):
    source = folder({"t/a.wav": b"x", "t/d/b.wav": b"x", "u/c.wav": b"x", "t/c.mp3": b"x"})
    assert keys_of(list_items(f"{source}/t/**/*.wav", "audio")) == ["a", "d/b"]
    assert keys_of(list_items(f"{source}/?/*.wav", "audio")) == ["t/a", "u/c"]
    assert keys_of(list_items(f"{source}/t/*", "audio")) == ["a", "c"]


def test_locations_do_not_depend_on_the_working_directory(folder, monkeypatch):
    source = folder({"a.wav": b"x", "m.jsonl": b'{"path": "a.wav"}\n'})
    monkeypatch.chdir(source)
    for name in (".", "*.wav", "a.wav", "m.jsonl"):
        (item,) = list_items(name, "audio")
        assert item.key == "a"
        assert os.path.isabs(item.location.path)
        assert os.path.samefile(item.location.path, "a.wav")
    assert list_items(".", "audio") == list_items(str(source), "audio")


def test_the_limit_takes_the_first_by_key(folder):
    source = folder({f"{name}.wav": b"x" for name in "cab"})
    assert keys_of(list_items(str(source), "audio", limit=2)) == ["a", "b"]
    assert keys_of(list_items(str(source), "audio", limit=9)) == ["a", "b", "c"]


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(folder, refusal, limit):
    assert "at least 1" in refusal(list_items, str(folder({"a.wav": b"x"})), "audio", limit=limit)


def test_an_empty_folder_is_refused(tmp_path, refusal):
    message = refusal(list_items, str(tmp_path), "audio")
    assert str(tmp_path) in message
    for understood in (".wav", ".tar", ".parquet", ".jsonl", ".scp", "glob"):
        assert understood in message


@pytest.mark.parametrize("name", ["nothing", "no/*.wav", "nul\0.wav"])
def test_missing_paths_are_refused(tmp_path, refusal, name):
    assert "check the path" in refusal(list_items, str(tmp_path / name), "audio")


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz", "a.tar.zst", "a.jsonl.gz", "a.zip"])
@pytest.mark.parametrize("itself", [True, False])
def test_compressed_files_are_refused(folder, refusal, name, itself):
    source = folder({name: b"x"})
    message = refusal(list_items, str(source / name if itself else source), "audio")
    assert name in message
    assert "unpack" in message


def test_a_file_of_another_kind_is_refused(folder, refusal):
    assert "a.docx" in refusal(list_items, str(folder({"a.docx": b"x"}) / "a.docx"), "audio")


def test_two_kinds_in_a_folder_are_refused_with_an_example(folder, refusal):
    source = folder({"a.wav": b"x", "b.tar": b"x", "m.jsonl": b""})
    message = refusal(list_items, str(source), "audio")
    assert "audio files and WebDataset tars" in message
    assert keys_of(list_items(message.split("'")[-2], "audio")) == ["a"]


def test_manifests_in_a_folder_are_ignored(folder):
    assert keys_of(list_items(str(folder({"a.wav": b"x", "m.csv": b"path\na.wav\n"})), "audio")) == ["a"]


def test_repeated_rows_are_named(folder, refusal):
    row = b'{"path": "a.wav", "text": "so"}\n'
    source = folder({"a.wav": b"A", "one.jsonl": row, "twice.jsonl": row * 2, "other.jsonl": row.replace(b"so", b"no")})
    (source / "dot.jsonl").write_bytes(row.replace(b"a.wav", b"./a.wav"))
    for names in (["twice"], ["one", "twice"], ["one", "dot"]):
        message = refusal(list_items, [f"{source}/{name}.jsonl" for name in names], "audio")
        assert "a.wav' and equal columns: the row is repeated; remove one" in message
    message = refusal(list_items, [f"{source}/one.jsonl", f"{source}/other.jsonl"], "audio")
    assert "a.wav' and different 'text'; give the rows different keys in a column key, or remove one" in message


def test_equal_keys_are_refused(folder, refusal):
    source = folder({"m.jsonl": b'{"path": "a.wav", "id": "k"}\n{"path": "b.wav", "id": "k"}\n'})
    message = refusal(list_items, str(source / "m.jsonl"), "audio")
    assert "a.wav" in message
    assert "b.wav" in message
    assert "'k'" in message


def test_globs_do_not_follow_loops(folder):
    source = folder({"a/x.wav": b"x", "b/y.wav": b"y"})
    (source / "a" / "up").symlink_to(source)
    (source / "a" / "self").symlink_to(source / "a")
    (source / "c").symlink_to(source / "b")
    assert keys_of(list_items(f"{source}/**/*.wav", "audio")) == ["a/x", "b/y", "c/y"]
    assert keys_of(list_items(f"{source}/**", "audio")) == ["a/x", "b/y", "c/y"]


def test_keys_of_several_sources_begin_with_their_names(folder) -> None:
    source = folder({"d/a/x.wav": b"x", "d/b/x.wav": b"y", "d/b/c/x.flac": b"z", "d/e.wav": b"e", "f/a/x.wav": b"f"})
    found = list_items([f"{source}/d/b/", f"{source}/d/a/*.wav", f"{source}/d/e.wav"], "audio")
    assert keys_of(found) == ["a/x", "b/c/x", "b/x", "d/e"]
    assert [item.meta.get("label") for item in found] == ["a", "b/c", "b", "d"]
    assert keys_of(list_items([f"{source}/d/a", f"{source}/f/a"], "audio")) == ["d/a/x", "f/a/x"]
    assert keys_of(list_items([f"{source}/d/b"], "audio")) == ["c/x", "x"]


def test_sources_that_overlap_or_differ_in_kind_are_refused(folder, refusal) -> None:
    source = folder({"a/x.wav": b"x", "m.csv": b"path\na/x.wav\n"})
    for other in ("a/x.wav", "a/", "", "**/*.wav"):
        assert "x.wav' twice" in refusal(list_items, [f"{source}/a", f"{source}/{other}"], "audio")
    assert "one kind of source" in refusal(list_items, [f"{source}/a", f"{source}/m.csv"], "audio")
    assert "at least one source" in refusal(list_items, [], "audio")
    assert "check the path" in refusal(list_items, [f"{source}/a", f"{source}/none"], "audio")


def test_numbers_are_the_places_in_the_source(folder) -> None:
    source = folder(
        {"m.jsonl": b'{"path": "b.wav"}\n{"path": "c.wav"}\n\n{"path": "a.wav"}\n', "n.csv": b"path\nd.wav"}
    )
    found = list_items([f"{source}/m.jsonl", f"{source}/n.csv"], "audio")
    assert [(item.key, item.number) for item in found] == [("a", 2), ("b", 0), ("c", 1), ("d", 3)]
    assert [item.number for item in list_items(f"{source}/m.jsonl", "audio", limit=2)] == [2, 0]


@pytest.mark.parametrize("name", ["", "m.jsonl", "a.wav"])
def test_items_without_unique_keys(folder, name):
    source = folder({"a.wav": b"x", "d/b.wav": b"y", "m.jsonl": b'{"path": "a.wav"}\n{"path": "a.wav", "key": "k"}\n'})
    found = list(iterate_items(str(source / name), "audio"))
    places = [os.path.relpath(item.location.path, source) for item in found]
    assert places == {"": ["a.wav", "d/b.wav"], "m.jsonl": ["a.wav", "a.wav"], "a.wav": ["a.wav"]}[name]
    assert found[0].location.size == 1
    with pytest.raises(InputError, match="there is no file, folder or match"):
        next(iterate_items(str(source / "nowhere"), "audio"))
