import io
import struct

import pytest

from narrows.media.audio.tags import after_tags, before_tags

AUDIO = bytes(range(200))
ID3V2 = b"ID3\4\0\0\0\0\1\0" + bytes(128)
ID3V1 = b"TAG" + bytes(125)


def ape(*, header: bool) -> bytes:
    sizes = struct.pack("<III", 2000, 10 + 32, 1)
    flags = 0x80000000 if header else 0
    front = b"APETAGEX" + sizes + struct.pack("<I8x", flags | 0x20000000) if header else b""
    return front + bytes(10) + b"APETAGEX" + sizes + struct.pack("<I8x", flags)


@pytest.mark.parametrize("head", [b"", ID3V2, ID3V2 * 3, ape(header=True), ID3V2 + ape(header=True)])
@pytest.mark.parametrize("tail", [b"", ID3V1, ape(header=True), ape(header=False), ape(header=False) + ID3V1])
def test_the_audio_lies_between_the_tags(head, tail):
    file = io.BytesIO(head + AUDIO + tail)
    assert after_tags(file) == len(head)
    assert before_tags(file, len(head), len(head + AUDIO + tail)) == len(head + AUDIO)


@pytest.mark.parametrize("data", [b"", b"ID3", b"TAG", b"APETAGEX", b"LYRICS200", b"3DI", b"999999LYRICS200"])
def test_incomplete_tags_do_no_harm(data):
    file = io.BytesIO(data)
    assert after_tags(file) >= 0
    assert 0 <= before_tags(file, 0, len(data)) <= len(data)
