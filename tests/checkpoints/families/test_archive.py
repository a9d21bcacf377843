import io
import tarfile

import pytest

from narrows.checkpoints.families.archive import read_members
from narrows.errors import ModelError


def packed(path, members, mode="w:"):
    with tarfile.open(path, mode) as tar:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def test_members_are_read_from_any_folder(tmp_path):
    packed(tmp_path / "a.nemo", [("./x/weights", b"123"), ("../../config", b"45"), ("other", b"")])
    assert read_members(tmp_path / "a.nemo", ("weights", "config")) == {"weights": b"123", "config": b"45"}
    assert [p.name for p in tmp_path.iterdir()] == ["a.nemo"]


def test_links_are_not_followed(tmp_path):
    (tmp_path / "secret").write_bytes(b"1")
    with tarfile.open(tmp_path / "a.nemo", "w:") as tar:
        member = tarfile.TarInfo("weights")
        member.type, member.linkname = tarfile.SYMTYPE, str(tmp_path / "secret")
        tar.addfile(member)
    with pytest.raises(ModelError, match=r"expected weights in .*, got none"):
        read_members(tmp_path / "a.nemo", ("weights",))


def test_damaged_archives_are_refused(tmp_path):
    path = tmp_path / "a.nemo"
    packed(path, [("a/weights", b"1"), ("b/weights", b"2")])
    with pytest.raises(ModelError, match="expected one file weights"):
        read_members(path, ("weights",))
    packed(path, [("weights", b"1" * 5000)])
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ModelError, match=r"a\.nemo") as caught:
        read_members(path, ("weights",))
    assert "\n" not in str(caught.value)
    packed(path, [("weights", b"1")], "w:gz")
    with pytest.raises(ModelError, match="cannot be read as a tar archive"):
        read_members(path, ("weights",))
    packed(path, [(f"{i}", b"") for i in range(1001)])
    with pytest.raises(ModelError, match="expected at most 1000 files"):
        read_members(path, ("weights",))
