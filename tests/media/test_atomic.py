import errno
import os
import resource
import stat
from pathlib import Path

import pytest

from narrows.media import atomic
from narrows.media.atomic import write_bytes, written_beside


def fails_with(code: int):
    def call(*arguments, **options):
        raise OSError(code, os.strerror(code))

    return call


def test_bytes_arrive_and_nothing_else_stays(tmp_path):
    write_bytes(tmp_path / "a.nrw", b"new")
    assert (tmp_path / "a.nrw").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.nrw"]


def test_the_name_appears_at_the_end(tmp_path):
    with written_beside(tmp_path / "a.nrw") as file:
        file.write(b"half")
        assert not (tmp_path / "a.nrw").exists()
        assert os.path.dirname(file.name) == str(tmp_path)
        assert os.path.basename(file.name).startswith(".")
    assert (tmp_path / "a.nrw").exists()


def test_the_bytes_are_on_the_disk_before_they_have_the_name(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append((os.fstat(handle).st_size, os.listdir(tmp_path))))
    write_bytes(tmp_path / "a.nrw", b"new")
    (size, names), (_, names_then) = synced  # the file, then its folder
    assert size == 3
    assert names[0].startswith(".narrows-")
    assert names_then == ["a.nrw"]


def test_the_path_may_be_written_to_as_well(tmp_path):
    with written_beside(tmp_path / "a.nrw") as file:
        Path(file.name).write_bytes(b"by path")
    assert (tmp_path / "a.nrw").read_bytes() == b"by path"


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError, FileNotFoundError])
def test_after_a_failure_of_the_block_all_is_as_it_was(tmp_path, failure):
    def interrupted():
        with written_beside(tmp_path / "a.nrw", overwrite=True) as file:
            file.write(b"new")
            raise failure("the block's own")

    write_bytes(tmp_path / "a.nrw", b"old")
    with pytest.raises(failure, match="the block's own"):
        interrupted()
    assert (tmp_path / "a.nrw").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.nrw"]


def test_an_existing_file_is_refused_before_the_work(tmp_path, refusal):
    write_bytes(tmp_path / "a.nrw", b"old")
    line = refusal(write_bytes, tmp_path / "a.nrw", b"new")
    assert "a.nrw' exists already" in line
    assert "--force" in line
    assert "overwrite=True" in line
    assert (tmp_path / "a.nrw").read_bytes() == b"old"


@pytest.mark.parametrize("links", [True, False], ids=["links", "no hard links"])
def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path, monkeypatch, refusal, links):
    def overtaken():
        with written_beside(tmp_path / "a.nrw") as file:
            file.write(b"ours")
            (tmp_path / "a.nrw").write_bytes(b"theirs")

    if not links:
        monkeypatch.setattr(os, "link", fails_with(errno.EPERM))
    assert "exists already" in refusal(overtaken)
    assert (tmp_path / "a.nrw").read_bytes() == b"theirs"
    assert os.listdir(tmp_path) == ["a.nrw"]


def test_without_hard_links(tmp_path, monkeypatch, refusal):
    monkeypatch.setattr(os, "link", fails_with(errno.EPERM))
    write_bytes(tmp_path / "a.nrw", b"new")
    assert (tmp_path / "a.nrw").read_bytes() == b"new"
    monkeypatch.setattr(os, "replace", fails_with(errno.EIO))
    assert "input/output error" in refusal(write_bytes, tmp_path / "b.nrw", b"new")
    assert os.listdir(tmp_path) == ["a.nrw"]


def test_overwriting_keeps_the_permissions_and_links(tmp_path):
    (tmp_path / "a.nrw").write_bytes(b"old")
    (tmp_path / "a.nrw").chmod(0o600)
    (tmp_path / "link.nrw").symlink_to("a.nrw")
    write_bytes(tmp_path / "link.nrw", b"new", overwrite=True)
    assert (tmp_path / "a.nrw").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "a.nrw").stat().st_mode) == 0o600
    assert (tmp_path / "link.nrw").is_symlink()


def test_new_files_get_the_usual_permissions(tmp_path):
    (tmp_path / "usual").write_bytes(b"")
    write_bytes(tmp_path / "a.nrw", b"new")
    assert (tmp_path / "a.nrw").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_dangling_link_counts_as_existing(tmp_path, refusal):
    (tmp_path / "link.nrw").symlink_to("nowhere")
    assert "exists already" in refusal(write_bytes, tmp_path / "link.nrw", b"")


def test_folders_and_devices_are_refused(tmp_path, refusal):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for overwrite in (False, True):
        line = refusal(write_bytes, tmp_path / "folder", b"", overwrite=overwrite)
        assert "is a folder" in line
        assert "add a file name" in line
    assert "is a pipe or a device" in refusal(write_bytes, tmp_path / "pipe", b"", overwrite=True)


def test_a_missing_folder_is_named(tmp_path, refusal):
    line = refusal(write_bytes, tmp_path / "out" / "a.nrw", b"")
    assert f"no folder '{tmp_path}/out'" in line
    assert "mkdir -p" in line


def test_impossible_names_are_refused(tmp_path, refusal):
    (tmp_path / "file").write_bytes(b"")
    assert "not a directory" in refusal(write_bytes, tmp_path / "file" / "a.nrw", b"")
    assert "name too long" in refusal(write_bytes, tmp_path / ("a" * 300), b"")
    assert "null" in refusal(write_bytes, f"{tmp_path}/a\0b", b"")
    assert "cannot be written" in refusal(write_bytes, f"{tmp_path}/no\nsuch/a", b"")


def test_the_longest_name_is_possible(tmp_path):
    write_bytes(tmp_path / ("a" * 255), b"new")
    assert os.listdir(tmp_path) == ["a" * 255]


def test_a_closed_folder_is_named(tmp_path, refusal, monkeypatch):
    if os.geteuid() == 0:  # root may write everywhere
        monkeypatch.setattr(atomic, "open", fails_with(errno.EACCES), raising=False)
    tmp_path.chmod(0o500)
    line = refusal(write_bytes, tmp_path / "a.nrw", b"")
    tmp_path.chmod(0o700)
    assert f"{tmp_path}' is closed to this user" in line
    assert "choose another folder" in line


def test_a_full_disk_is_named(tmp_path, refusal, monkeypatch):
    write_bytes(tmp_path / "a.nrw", b"old")
    monkeypatch.setattr(os, "fsync", fails_with(errno.ENOSPC))
    line = refusal(write_bytes, tmp_path / "a.nrw", b"new", overwrite=True)
    assert "no space left on device" in line
    assert "nothing was kept" in line
    assert (tmp_path / "a.nrw").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.nrw"]


@pytest.mark.parametrize("size", [100, 100_000], ids=["in the buffer", "beyond the buffer"])
def test_a_write_that_finds_no_room(tmp_path, refusal, size):
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50, old[1]))
    try:
        line = refusal(write_bytes, tmp_path / "a.nrw", bytes(size))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert "could not be written to its end (file too large)" in line
    assert os.listdir(tmp_path) == []
