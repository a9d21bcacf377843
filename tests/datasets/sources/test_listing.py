import os

import pytest

from narrows.datasets.sources import entries


def keys_of(found):
    return [entry.key for entry in found]


def test_one_file_is_a_source(folder, content):
    source = folder({"a.wav": b"x"})
    (entry,) = entries(str(source / "a.wav"), "audio")
    assert entry.key == "a"
    assert content(entry) == b"x"


def test_globs_name_from_where_they_begin_to_differ(folder):
    source = folder({"t/a.wav": b"x", "t/d/b.wav": b"x", "u/c.wav": b"x", "t/c.mp3": b"x"})
    assert keys_of(entries(f"{source}/t/**/*.wav", "audio")) == ["a", "d/b"]
    assert keys_of(entries(f"{source}/?/*.wav", "audio")) == ["t/a", "u/c"]
    assert keys_of(entries(f"{source}/t/*", "audio")) == ["a", "c"]


def test_places_do_not_depend_on_the_working_directory(folder, monkeypatch):
    source = folder({"a.wav": b"x", "m.jsonl": b'{"path": "a.wav"}\n'})
    monkeypatch.chdir(source)
    for name in (".", "*.wav", "a.wav", "m.jsonl"):
        (entry,) = entries(name, "audio")
        assert entry.key == "a"
        assert os.path.isabs(entry.place.path)
        assert os.path.samefile(entry.place.path, "a.wav")
    assert entries(".", "audio") == entries(str(source), "audio")


def test_the_limit_takes_the_first_by_key(folder):
    source = folder({f"{name}.wav": b"x" for name in "cab"})
    assert keys_of(entries(str(source), "audio", limit=2)) == ["a", "b"]
    assert keys_of(entries(str(source), "audio", limit=9)) == ["a", "b", "c"]


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(folder, refusal, limit):
    assert "at least 1" in refusal(entries, str(folder({"a.wav": b"x"})), "audio", limit=limit)


def test_an_empty_folder_is_refused(tmp_path, refusal):
    message = refusal(entries, str(tmp_path), "audio")
    assert str(tmp_path) in message
    for understood in (".wav", ".tar", ".parquet", ".jsonl", ".scp", "glob"):
        assert understood in message


@pytest.mark.parametrize("name", ["nothing", "no/*.wav", "nul\0.wav"])
def test_what_is_not_there_is_refused(tmp_path, refusal, name):
    assert "check the path" in refusal(entries, str(tmp_path / name), "audio")


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz", "a.tar.zst", "a.jsonl.gz", "a.zip"])
@pytest.mark.parametrize("itself", [True, False])
def test_what_is_compressed_is_refused_by_name(folder, refusal, name, itself):
    source = folder({name: b"x"})
    message = refusal(entries, str(source / name if itself else source), "audio")
    assert name in message
    assert "unpack" in message


def test_a_file_of_another_kind_is_refused(folder, refusal):
    assert "a.docx" in refusal(entries, str(folder({"a.docx": b"x"}) / "a.docx"), "audio")


def test_two_kinds_in_a_folder_are_refused_with_what_to_type(folder, refusal):
    source = folder({"a.wav": b"x", "b.tar": b"x", "m.jsonl": b""})
    message = refusal(entries, str(source), "audio")
    assert "audio files and WebDataset tars" in message
    assert keys_of(entries(message.split("'")[-2], "audio")) == ["a"]


def test_manifests_in_a_folder_are_no_items(folder):
    assert keys_of(entries(str(folder({"a.wav": b"x", "m.csv": b"path\na.wav\n"})), "audio")) == ["a"]


def test_equal_keys_name_both_places(folder, refusal):
    source = folder({"m.jsonl": b'{"path": "a.wav", "id": "k"}\n{"path": "b.wav", "id": "k"}\n'})
    message = refusal(entries, str(source / "m.jsonl"), "audio")
    assert "a.wav" in message
    assert "b.wav" in message
    assert "'k'" in message


def test_globs_do_not_go_round_in_circles(folder):
    source = folder({"a/x.wav": b"x", "b/y.wav": b"y"})
    (source / "a" / "up").symlink_to(source)
    (source / "a" / "self").symlink_to(source / "a")
    (source / "c").symlink_to(source / "b")
    assert keys_of(entries(f"{source}/**/*.wav", "audio")) == ["a/x", "b/y", "c/y"]
    assert keys_of(entries(f"{source}/**", "audio")) == ["a/x", "b/y", "c/y"]
