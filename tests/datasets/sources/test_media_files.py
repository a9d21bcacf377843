import errno
import os

import pytest

from narrows.datasets.sources import list_items
from narrows.datasets.sources.media_files import keys_of
from narrows.media import folders

ODD = ["über/ß 漢字.wav", "with spaces/a b.flac", "a,b.wav", "new\nline.wav", "quo\"te's.wav", "[x]*?.wav", "UP.WAV"]


def keys(found):
    return [item.key for item in found]


def test_files_of_a_medium_are_found_to_any_depth(folder, content):
    source = folder({"b.wav": b"b", "a/c.flac": b"c", "a/d/e.MP3": b"e", "a/no.txt": b"x", "p.png": b"p"})
    found = list_items(str(source), "audio")
    assert keys(found) == ["a/c", "a/d/e", "b"]
    assert [item.meta for item in found] == [{"label": "a"}, {"label": "a/d"}, {}]
    assert [content(item) for item in found] == [b"c", b"e", b"b"]
    assert [item.location.size for item in found] == [1, 1, 1]
    assert keys(list_items(str(source), "image")) == ["p"]


def test_unusual_names(folder, content):
    source = folder({name: name.encode() for name in ODD})
    found = list_items(str(source), "audio")
    assert keys(found) == sorted(os.path.splitext(name)[0] for name in ODD)
    assert {content(item) for item in found} == {name.encode() for name in ODD}


def test_names_that_are_not_utf_8_are_escaped(folder, content):
    source = folder({"good.wav": b"g"})
    with open(os.fsencode(source) + b"/caf\xe9.wav", "wb") as file:
        file.write(b"bad")
    found = list_items(str(source), "audio")
    assert keys(found) == ["caf\\xe9", "good"]
    assert content(found[0]) == b"bad"


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["a.wav", "b.wav"], ["a", "b"]),
        (["a.wav", "a.flac", "b.wav"], ["a.wav", "a.flac", "b"]),
        (["a.wav.flac", "a.wav", "b"], ["a.wav.flac", "a", "b"]),
        (["a.wav.flac", "a.wav", "a.mp3"], ["a.wav.flac", "a.wav", "a.mp3"]),
        (["d.x/a", "d.x/a.wav"], ["d.x/a", "d.x/a.wav"]),
    ],
)
def test_keys_have_suffixes_where_they_are_needed(names, wanted):
    assert keys_of(names) == wanted


def test_links_are_followed_without_loops(folder):
    source = folder({"a/x.wav": b"x", "b/y.wav": b"y"})
    (source / "a" / "up").symlink_to(source)
    (source / "a" / "self").symlink_to(source / "a")
    (source / "b" / "z.wav").symlink_to(source / "a" / "x.wav")
    (source / "c").symlink_to(source / "b")
    assert keys(list_items(str(source), "audio")) == ["a/x", "b/y", "b/z", "c/y", "c/z"]


def test_hidden_files_are_ignored(folder):
    source = folder({"a.wav": b"x", "._a.wav": b"x", ".cache/b.wav": b"x"})
    assert keys(list_items(str(source), "audio")) == ["a"]


def test_broken_links_are_listed(folder, content):
    source = folder({"a.wav": b"x"})
    (source / "b.wav").symlink_to(source / "gone.wav")
    found = list_items(str(source), "audio")
    assert keys(found) == ["a", "b"]
    assert found[1].location.size is None


def test_unreadable_folders_are_named(folder, refusal, monkeypatch):
    def scandir(path):
        if path.endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path)

    real = os.scandir
    monkeypatch.setattr(folders.os, "scandir", scandir)
    message = refusal(list_items, str(folder({"a.wav": b"x", "closed/b.wav": b"x"})), "audio")
    assert "closed': Permission denied" in message


def test_the_order_of_the_file_system_does_not_matter(folder, monkeypatch):
    source = folder({f"{outer}/{inner}.wav": b"x" for outer in "bac" for inner in "zyx"} | {"a.wav": b"", "a.mp3": b""})
    straight = list_items(str(source), "audio")

    class Reversed:
        def __init__(self, path):
            with scandir(path) as found:
                self.found = sorted(found, key=lambda one: one.name, reverse=True)

        def __enter__(self):
            return self.found

        def __exit__(self, *error):
            pass

    scandir = os.scandir
    monkeypatch.setattr(folders.os, "scandir", Reversed)
    assert list_items(str(source), "audio") == straight
    assert keys(straight) == sorted(keys(straight))
