import os

import pytest

from narrows.errors import InputError
from narrows.media.folders import find_files, skipped_files


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A folder with files in it, which is the current one."""
    for name in ("b.wav", "a/c.WAV", "a/d/e.flac", "a-b/f.wav", "a/.hidden/g.wav", "._b.wav", "notes.txt"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


def paths(*arguments):
    return [file.path for file in find_files(*arguments)]


def test_folders_are_searched_to_any_depth_in_the_order_of_paths(tree):
    found = find_files("data", {".wav", ".flac"})
    assert [file.path for file in found] == ["data/a/c.WAV", "data/a/d/e.flac", "data/a-b/f.wav", "data/b.wav"]
    assert [file.name for file in found] == ["a/c.WAV", "a/d/e.flac", "a-b/f.wav", "b.wav"]
    assert {file.size for file in found} == {1}
    assert paths("data", {".wav"}) == ["data/a/c.WAV", "data/a-b/f.wav", "data/b.wav"]
    assert paths("data")[-1] == "data/notes.txt"
    assert paths(tree, {".flac"}) == [str(tree / "a/d/e.flac")]
    assert [os.path.normpath(path) for path in paths(".", {".flac"})] == ["data/a/d/e.flac"]


def test_the_order_is_that_of_sorted_paths(tree):
    assert paths(tree, {".wav", ".flac"}) == [
        str(path)
        for path in sorted(tree.rglob("*"))
        if path.suffix.lower() in {".wav", ".flac"} and "/." not in str(path.relative_to(tree.parent))
    ]


def test_a_single_file_may_have_any_suffix(tree):
    assert paths("data/notes.txt", {".wav"}) == ["data/notes.txt"]
    assert [file.name for file in find_files("data/notes.txt")] == ["notes.txt"]
    assert paths("data/gone.wav") == paths("gone/*.wav") == paths("gone/**") == paths("") == paths("nul\0.wav") == []


def test_patterns(tree):
    assert paths("data/*.wav") == ["data/b.wav"]
    assert paths("data/*") == ["data/b.wav", "data/notes.txt"]
    assert paths("data/**/*.wav") == ["data/a-b/f.wav", "data/b.wav"]
    assert paths("**/d/*") == ["data/a/d/e.flac"]
    assert paths("data/**") == paths("data")
    assert [file.name for file in find_files("data/?/*")] == ["a/c.WAV"]
    (tree / "[1].wav").write_bytes(b"x")
    assert paths("data/[1].wav") == ["data/[1].wav"]  # a path that exists is no pattern


def test_links_are_followed_but_not_in_circles(tree):
    (tree / "a" / "up").symlink_to(tree)
    (tree / "link").symlink_to(tree / "a-b")
    (tree / "gone.wav").symlink_to(tree / "nothing.wav")
    (tree / "itself").symlink_to("itself")
    found = find_files("data", {".wav"})
    assert [file.name for file in found] == ["a/c.WAV", "a-b/f.wav", "b.wav", "gone.wav", "link/f.wav"]
    assert [file.size for file in found] == [1, 1, 1, None, 1]
    assert paths("data/**/f.wav") == ["data/a-b/f.wav", "data/link/f.wav"]


def test_names_that_are_not_utf_8_are_escaped(tree):
    with open(os.fsencode(tree) + b"/caf\xe9.mp3", "wb") as file:
        file.write(b"x")
    (found,) = find_files("data", {".mp3"})
    assert found.name == r"caf\xe9.mp3"
    assert os.path.exists(found.path)


def test_unreadable_folders_are_refused(tree, monkeypatch):
    def scandir(path):
        if str(path).endswith("a-b"):  # or an open folder's number, of whoever clears it away
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    real = os.scandir
    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(InputError, match=r"got 'data/a-b': Permission denied; check its permissions"):
        find_files("data")


def test_files_of_other_suffixes_are_counted(tree):
    (tree / "README").write_bytes(b"x")
    (tree / "a" / "more.TXT").write_bytes(b"x")
    line = skipped_files([tree, "no folder"], {".wav", ".flac"}, "audio")
    assert line == "skipped 3 files that are no audio: .txt 2, no suffix 1"
    assert skipped_files([tree / "a-b"], {".wav"}, "audio") is None
    assert skipped_files([tree / "b.wav"], {".flac"}, "audio") is None
    for number in range(12):
        (tree / f"a.x{number:02}").write_bytes(b"x")
    assert skipped_files([tree], {".wav"}, "audio").endswith(".x04 1, and 7 other suffixes")
