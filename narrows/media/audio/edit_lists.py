"""The edit lists of an MP4 or MOV: which parts of each track are presented.

track        │ priming │ sound …                  │ padding │
edit list              ├ start at a time, duration ┤
"""

import struct
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import BinaryIO

from narrows.media.binary import boxes, bytes_at, number

_MAX_EDITS = 10_000

Span = tuple[Fraction, Fraction | None]


@dataclass(frozen=True)
class EditList:
    """The parts of a track that are presented, in order.

    Attributes:
        spans: start and end of each in seconds of the track; None for an end that is not stated. Empty edits, which
            only delay what follows, are left out.
        tick: the unit in seconds to which the durations are rounded.
        delay: seconds of empty edits before the first span.
    """

    spans: tuple[Span, ...]
    tick: Fraction
    delay: Fraction = Fraction(0)

    @property
    def in_order(self) -> bool:
        """Whether each span begins where the one before ends, or later."""
        return all(end is not None and end <= start for (_, end), (start, _) in pairwise(self.spans))


def edit_lists(file: BinaryIO, start: int, end: int) -> dict[int, EditList]:
    """The edit list of each track that has one, by the id of the track; empty for a file that is no MP4.

    Args:
        file: open for reading; its position changes.
        start, end: offsets of the container, between tags.
    """
    found: dict[int, EditList] = {}
    movie = next((part for part in boxes(file, start, end) if part[0] == b"moov"), None)
    parts = list(boxes(file, movie[1], min(movie[2], end))) if movie else []
    by_name = {name: at for name, at, _ in parts}
    ticks = _fourth_field(file, by_name[b"mvhd"]) if b"mvhd" in by_name else 0  # per second
    for name, at, stop in parts:
        track = _boxes_of_track(file, at, min(stop, end)) if name == b"trak" and ticks else {}
        if {b"tkhd", b"mdhd", b"elst"} <= track.keys() and (rate := _fourth_field(file, track[b"mdhd"])):
            spans, delay = _spans(file, track[b"elst"], ticks, rate)
            if spans and b"mvex" in by_name:  # fragments follow, whose length is not known when the header is written
                spans[-1] = (spans[-1][0], None)
            if spans:
                found[_fourth_field(file, track[b"tkhd"])] = EditList(tuple(spans), Fraction(1, ticks), delay)
    return found


def _boxes_of_track(file: BinaryIO, at: int, end: int) -> dict[bytes, int]:
    """The offsets of the contents of the boxes in a track and in its `edts` and `mdia`, by name."""
    found: dict[bytes, int] = {}
    for name, start, stop in boxes(file, at, end):
        found[name] = start
        if name in (b"edts", b"mdia"):
            found |= {inner: place for inner, place, _ in boxes(file, start, min(stop, end))}
    return found


def _spans(file: BinaryIO, at: int, ticks: int, rate: int) -> tuple[list[Span], Fraction]:
    """Start and end of each edit that is not empty, in seconds of the track, and the seconds of empty ones in front."""
    head = bytes_at(file, at, 8)
    duration_code, time_code = (">Q", ">q") if head[:1] == b"\1" else (">I", ">i")
    width = struct.calcsize(duration_code)
    entry = 2 * width + 4
    table = bytes_at(file, at + 8, entry * min(number(head, 4, ">I"), _MAX_EDITS))
    found: list[Span] = []
    delay = Fraction(0)
    for place in range(0, len(table) - entry + 1, entry):
        duration, start = number(table, place, duration_code), number(table, place + width, time_code)
        if start >= 0:  # -1 for an empty edit
            first = Fraction(start, rate)
            found.append((first, first + Fraction(duration, ticks) if duration else None))
        elif not found:
            delay += Fraction(duration, ticks)
    return found, delay


def _fourth_field(file: BinaryIO, at: int) -> int:
    """The field after the version and two dates: ticks per second in `mvhd` and `mdhd`, the track's id in `tkhd`."""
    head = bytes_at(file, at, 24)
    return number(head, 20 if head[:1] == b"\1" else 12, ">I")
