import io
import struct
import tarfile

import pytest

from narrows.datasets.sources import list_items
from narrows.datasets.sources.webdataset import MAX_TEXT


def tar(members, format=tarfile.USTAR_FORMAT):
    """A tar of (name, bytes) pairs."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=format) as made:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    return file.getvalue()


def header(name, size, kind=b"0", magic=b"ustar\x0000"):
    """One header, byte by byte, with whatever it is to claim; `size` as the bytes of its field."""
    block = bytearray(512)
    block[: len(name)] = name
    block[124 : 124 + len(size)] = size
    block[156:157] = kind
    block[257:265] = magic
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def octal(size):
    return b"%011o\0" % size


def padded(data):
    return data + bytes(-len(data) % 512)


@pytest.fixture
def listed(folder):
    def made(data, medium="audio"):
        return list_items(str(folder({"a.tar": data}) / "a.tar"), medium)

    return made


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_of_one_sample_are_joined(listed, content, format):
    members = [
        ("d/1.flac", b"F" * 700),
        ("d/1.json", b'{"speaker": 17, "x": [1]}'),
        ("d/1.txt", "über\n".encode()),
        ("d/1.png", b"P"),
        ("d/2.cls", b" 12\n"),
        ("d/2.wav", b"W" * 512),
        ("./ü/3.wav", b"w"),
        ("long" * 60 + "/4.wav", b"l"),
        ("5.txt", b"alone"),
    ]
    members[1] = ("d/1.JSON", members[1][1])
    data = tar([one for one in members if len(one[0]) < 100 or format != tarfile.USTAR_FORMAT], format)
    found = [(item.key, content(item), item.meta) for item in listed(data)]
    assert found[:2] == [
        ("d/1", b"F" * 700, {"speaker": 17, "x": [1], "txt": "über\n"}),
        ("d/2", b"W" * 512, {"cls": 12}),
    ]
    long = [("long" * 60 + "/4", b"l", {})] if format != tarfile.USTAR_FORMAT else []
    assert found[2:] == [*long, ("ü/3", b"w", {})]
    assert [item.key for item in listed(data, "image")] == ["d/1"]


def test_name_prefixes(listed):
    (item,) = listed(tar([("p" * 90 + "/" + "n" * 60 + ".wav", b"x")]))
    assert item.key == "p" * 90 + "/" + "n" * 60


def test_several_media_of_a_sample_keep_their_names(listed, content):
    found = listed(tar([("1.a.wav", b"A"), ("1.json", b'{"x": 1}'), ("1.b.wav", b"B"), ("2.wav", b"C")]))
    assert [(item.key, content(item), item.meta) for item in found] == [
        ("1.a.wav", b"A", {"x": 1}),
        ("1.b.wav", b"B", {"x": 1}),
        ("2", b"C", {}),
    ]


@pytest.mark.parametrize(
    "text", [b"{", b"[1]", b"", b'{"x": NaN}', b'{"x": "\\udc00"}', b"\xff", b"[" * 100_000], ids=range(7)
)
def test_json_that_is_not_an_object_is_text(listed, text):
    (item,) = listed(tar([("1.wav", b"x"), ("1.json", text)]))
    assert item.meta == {"json": text.decode("utf-8", "replace")}


@pytest.mark.parametrize("text", [b"cat", "²".encode(), b"9" * 5_000, b"-1"])
def test_classes_that_are_not_integers_are_text(listed, text):
    (item,) = listed(tar([("1.wav", b"x"), ("1.cls", text)]))
    assert item.meta == {"cls": text.decode()}


def test_too_long_text_is_ignored(listed):
    (item,) = listed(tar([("1.txt", bytes(MAX_TEXT + 1)), ("1.wav", b"x")]))
    assert item.meta == {}


def test_a_folder_of_tars_is_one_data_set(folder, content):
    source = folder({"b/2.tar": tar([("y.wav", b"Y")]), "1.tar": tar([("z.wav", b"Z"), ("x.wav", b"X")])})
    assert [(item.key, content(item)) for item in list_items(str(source), "audio")] == [
        ("x", b"X"),
        ("y", b"Y"),
        ("z", b"Z"),
    ]
    (source / "3.tar").write_bytes(tar([("y.wav", b"Y")]))
    with pytest.raises(ValueError, match=r"got 'y' for .*3\.tar' at byte 512 and .*2\.tar' at byte 512"):
        list_items(str(source), "audio")


def test_member_names_are_only_keys(listed, content, tmp_path):
    names = ["/etc/passwd.wav", "../../up.wav", "a/../../b.wav", "new\nline.wav"]
    found = listed(tar([(name, name.encode()) for name in names]))
    assert {item.key: content(item) for item in found} == {name[:-4]: name.encode() for name in names}
    assert {item.location.path for item in found} == {str(tmp_path / "source" / "a.tar")}


def test_members_that_are_not_files_are_ignored(listed):
    data = b"".join(header(b"%d.wav" % kind, octal(0), b"%d" % kind) for kind in (3, 5, 6))
    assert [item.key for item in listed(data + tar([("0.wav", b"x")]))] == ["0"]


@pytest.mark.parametrize("claim", [octal(8**11 - 1), b"\x80" + (2**60).to_bytes(11), b"\x80" + b"\xff" * 11])
def test_too_large_members_are_refused(listed, refusal, claim):
    data = tar([("a.wav", b"A")])[:1024] + header(b"b.wav", claim) + b"data"
    assert "a.tar', got none: it is truncated" in refusal(listed, data)


@pytest.mark.parametrize("kind", [b"1", b"2"])
def test_links_are_refused(listed, refusal, kind):
    data = header(b"a.wav", octal(0), kind) + tar([("0.wav", b"x")])
    assert "a link; pack with tar --dereference" in refusal(listed, data)


def test_pax_sizes_take_precedence(listed, content):
    record = b"13 size=1000\n"
    data = header(b"x", octal(len(record)), b"x") + padded(record) + header(b"a.wav", octal(0)) + padded(b"A" * 1000)
    assert [content(item) for item in listed(data + tar([("b.wav", b"B")]))] == [b"A" * 1000, b"B"]


@pytest.mark.parametrize("record", [b"99 path=x\n", b"x path=y\n", b"3 p\n", b"0 \n", b"9" * 600 + b" path=x\n", b"\0"])
def test_invalid_pax_records_are_ignored(listed, record):
    data = header(b"x", octal(len(record)), b"x") + padded(record) + tar([("a.wav", b"A")])
    assert [item.key for item in listed(data)] == ["a"]


@pytest.mark.parametrize("kind", [b"x", b"L"])
@pytest.mark.parametrize("size", [2**60, MAX_TEXT + 1])
def test_too_long_names_are_refused(listed, refusal, kind, size):
    assert "invalid at byte 0" in refusal(listed, header(b"n", b"\x80" + size.to_bytes(11), kind))


def test_sparse_files_are_refused(listed, refusal):
    record = b"22 GNU.sparse.major=1\n"
    for data in (header(b"a.wav", octal(5), b"S"), header(b"x", octal(len(record)), b"x") + padded(record)):
        assert "--sparse" in refusal(listed, data)


@pytest.mark.parametrize("length", [512 + 1024 + 512 + 100, 512 + 1024 + 100, 512 + 1024, 512 + 1024 + 512 + 1024])
def test_truncated_tars_are_refused(listed, refusal, length):
    whole = tar([("a.wav", b"A" * 600), ("b.json", b" " * 600), ("b.wav", b"B" * 600)])
    assert "truncated; get another copy" in refusal(listed, whole[:length])
    assert len(listed(whole)) == 2


def test_empty_members_are_listed(listed, content):
    (item,) = listed(tar([("a.wav", b"")]))
    assert content(item) == b""


@pytest.mark.parametrize(
    "data",
    [
        b"no tar" * 200,
        struct.pack("<H", 0x8B1F) + bytes(600),
        header(b"a.wav", b"\xff" * 12),
        header(b"a.wav", b"12 34"),
        tar([("a.wav", b"A")])[:1024] + b"\1" * 512,
    ],
)
def test_files_that_are_not_tars_are_refused(listed, refusal, data):
    message = refusal(listed, data)
    assert "a.tar', which is invalid at byte" in message


def test_empty_tars_are_refused(listed, refusal):
    assert "expected items of audio" in refusal(listed, tar([]))
