"""Tags that other programs put before and behind the audio in a file: ID3v1, ID3v2, APEv2 and Lyrics3."""

from typing import BinaryIO

from narrows.media.binary import bytes_at, number

_MAX_TAGS = 100
_ID3V1 = 128  # bytes
_APE = 32  # bytes of the header and of the footer of an APEv2 tag


def after_tags(file: BinaryIO) -> int:
    """The offset after the tags at the beginning of a file; its position changes."""
    at = 0
    for _ in range(_MAX_TAGS):
        head = bytes_at(file, at, _APE)
        if head[:3] == b"ID3" and len(head) >= 10:
            at += 10 + _id3_size(head) + (10 if head[5] & 0x10 else 0)
        elif head[:8] == b"APETAGEX":
            at += _APE + number(head, 12, "<I")
        else:
            break
    return at


def before_tags(file: BinaryIO, start: int, end: int) -> int:
    """The offset before the tags at the end of a file, whose audio begins at `start`; its position changes."""
    for _ in range(_MAX_TAGS):
        size = _size_of_last_tag(file, end)
        if not 0 < size <= end - start:
            break
        end -= size
    return end


def _size_of_last_tag(file: BinaryIO, end: int) -> int:
    """The bytes of the tag that ends at an offset; 0 if there is none."""
    tail = bytes_at(file, max(0, end - _ID3V1), min(end, _ID3V1))
    if len(tail) == _ID3V1 and tail[:3] == b"TAG":
        return _ID3V1
    if tail[-_APE:-24] == b"APETAGEX":
        header = _APE if number(tail, len(tail) - 12, "<I") & 0x80000000 else 0
        return number(tail, len(tail) - 20, "<I") + header
    if tail[-9:] == b"LYRICS200" and tail[-15:-9].isdigit():
        return int(tail[-15:-9]) + 15
    if tail[-10:-7] == b"3DI":
        return _id3_size(tail[-10:]) + 20
    return 0


def _id3_size(head: bytes) -> int:
    """The size that the header or footer of an ID3v2 tag states, in 7 bits of each of 4 bytes."""
    return sum((byte & 0x7F) << 7 * place for place, byte in enumerate(reversed(head[6:10])))
