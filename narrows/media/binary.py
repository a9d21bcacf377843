"""Bytes and integers at offsets of an open file; missing bytes give an empty or zero result, never an error."""

import struct
from collections.abc import Iterator
from typing import BinaryIO

_MAX_BOXES = 1_000_000  # boxes that are read before giving up


def bytes_at(file: BinaryIO, at: int, count: int) -> bytes:
    """Up to `count` bytes at an offset."""
    file.seek(at)
    return file.read(count)


def number(data: bytes, at: int, code: str) -> int:
    """The integer at an offset, by its `struct` code; 0 if the bytes are missing."""
    width = struct.calcsize(code)
    return int(struct.unpack(code, data[at : at + width])[0]) if len(data) >= at + width else 0


def boxes(file: BinaryIO, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """The boxes of an MP4 between two offsets: name, offset of the content, offset of the end (maybe after `end`).

    Stops at the first bytes that are no box.
    """
    for _ in range(_MAX_BOXES):
        if at + 8 > end:
            return
        head = bytes_at(file, at, 16)
        length, width = number(head, 0, ">I"), 8
        if length == 1:
            length, width = number(head, 8, ">Q"), 16
        elif length == 0:  # the box extends to the end
            length = end - at
        if length < width or not head[4:8].isascii():
            return
        yield head[4:8], at + width, at + length
        at += length
