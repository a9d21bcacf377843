import errno
import os
import resource
import stat
from pathlib import Path

import pytest

from narrows.media import atomic
from narrows.media.atomic import atomic_write, write_bytes


def raises(code: int):
    def call(*arguments, **options):
        raise OSError(code, os.strerror(code))

    return call


def test_bytes_are_written_and_no_temporary_file_is_left(tmp_path):
    write_bytes(tmp_path / "a.nrw", b"new")
    assert (tmp_path / "a.nrw").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.nrw"]


def test_the_name_appears_at_the_end(tmp_path):
    with atomic_write(tmp_path / "a.nrw") as file:
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


def test_the_temporary_path_can_be_written_to(tmp_path):
    with atomic_write(tmp_path / "a.nrw") as file:
        Path(file.name).write_bytes(b"by path")
    assert (tmp_path / "a.nrw").read_bytes() == b"by path"


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError, FileNotFoundError])
def test_an_error_in_the_block_changes_nothing(tmp_path, failure):
    def interrupted():
        with atomic_write(tmp_path / "a.nrw", overwrite=True) as file:
            file.write(b"new")
            raise failure("the block's own")

    write_bytes(tmp_path / "a.nrw", b"old")
    with pytest.raises(failure, match="the block's own"):
        interrupted()
    assert (tmp_path / "a.nrw").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.nrw"]


def test_an_existing_file_is_an_error_at_the_start(tmp_path, error_message):
    write_bytes(tmp_path / "a.nrw", b"old")
    line = error_message(write_bytes, tmp_path / "a.nrw", b"new")
    assert "a.nrw' exists already" in line
    assert "--force" in line
    assert "overwrite=True" in line
    assert (tmp_path / "a.nrw").read_bytes() == b"old"


@pytest.mark.parametrize("links", [True, False], ids=["links", "no hard links"])
def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path, monkeypatch, error_message, links):
    def overtaken():
        with atomic_write(tmp_path / "a.nrw") as file:
            file.write(b"ours")
            (tmp_path / "a.nrw").write_bytes(b"theirs")

    if not links:
        monkeypatch.setattr(os, "link", raises(errno.EPERM))
    assert "exists already" in error_message(overtaken)
    assert (tmp_path / "a.nrw").read_bytes() == b"theirs"
    assert os.listdir(tmp_path) == ["a.nrw"]


def test_without_hard_links(tmp_path, monkeypatch, error_message):
    monkeypatch.setattr(os, "link", raises(errno.EPERM))
    write_bytes(tmp_path / "a.nrw", b"new")
    assert (tmp_path / "a.nrw").read_bytes() == b"new"
    monkeypatch.setattr(os, "replace", raises(errno.EIO))
    assert "input/output error" in error_message(write_bytes, tmp_path / "b.nrw", b"new")
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


def test_a_dangling_link_counts_as_existing(tmp_path, error_message):
    (tmp_path / "link.nrw").symlink_to("nowhere")
    assert "exists already" in error_message(write_bytes, tmp_path / "link.nrw", b"")


def test_folders_and_devices(tmp_path, error_message):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for overwrite in (False, True):
        line = error_message(write_bytes, tmp_path / "folder", b"", overwrite=overwrite)
        assert "which is a folder" in line
        assert "add a file name" in line
    assert "which is a pipe or a device" in error_message(write_bytes, tmp_path / "pipe", b"", overwrite=True)


def test_a_missing_folder_is_named(tmp_path, error_message):
    line = error_message(write_bytes, tmp_path / "out" / "a.nrw", b"")
    assert f"no folder '{tmp_path}/out'" in line
    assert "mkdir -p" in line


def test_impossible_names(tmp_path, error_message):
    (tmp_path / "file").write_bytes(b"")
    assert "not a directory" in error_message(write_bytes, tmp_path / "file" / "a.nrw", b"")
    assert "name too long" in error_message(write_bytes, tmp_path / ("a" * 300), b"")
    assert "null" in error_message(write_bytes, f"{tmp_path}/a\0b", b"")
    assert "cannot be written" in error_message(write_bytes, f"{tmp_path}/no\nsuch/a", b"")


def test_the_longest_name_is_possible(tmp_path):
    write_bytes(tmp_path / ("a" * 255), b"new")
    assert os.listdir(tmp_path) == ["a" * 255]


def test_a_folder_without_write_permission_is_named(tmp_path, error_message, monkeypatch):
    if os.geteuid() == 0:  # root may write everywhere
        monkeypatch.setattr(atomic, "open", raises(errno.EACCES), raising=False)
    tmp_path.chmod(0o500)
    line = error_message(write_bytes, tmp_path / "a.nrw", b"")
    tmp_path.chmod(0o700)
    assert f"no permission for the folder '{tmp_path}'; choose another" in line


def test_a_full_disk_is_named(tmp_path, error_message, monkeypatch):
    write_bytes(tmp_path / "a.nrw", b"old")
    monkeypatch.setattr(os, "fsync", raises(errno.ENOSPC))
    line = error_message(write_bytes, tmp_path / "a.nrw", b"new", overwrite=True)
    assert "no space left on device" in line
    assert "nothing was kept; free some space" in line
    assert (tmp_path / "a.nrw").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.nrw"]


@pytest.mark.parametrize("size", [100, 100_000], ids=["in the buffer", "beyond the buffer"])
def test_a_write_beyond_a_size_limit(tmp_path, error_message, size):
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50, old[1]))
    try:
        line = error_message(write_bytes, tmp_path / "a.nrw", bytes(size))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert "could not be written to its end (file too large)" in line
    assert os.listdir(tmp_path) == []
