import io
import struct
from fractions import Fraction

import pytest

from narrows.media.audio.edit_lists import EditList, edit_lists

RATE, TICKS = 48_000, 1_000  # of the track and of the movie, per second


def box(name: str, *content: bytes) -> bytes:
    data = b"".join(content)
    return struct.pack(">I4s", 8 + len(data), name.encode()) + data


def movie(*edits: tuple[int, int], version: int = 0, fragmented: bool = False) -> bytes:
    """An MP4 of one track with the id 7 and edits (duration in TICKS, time in RATE)."""
    kind = struct.pack(">I", version << 24)
    dates = bytes(16 if version else 8)
    entries = [struct.pack(">QqI" if version else ">IiI", *edit, 1 << 16) for edit in edits]
    track = box(
        "trak",
        box("tkhd", kind, dates, struct.pack(">I", 7)),
        box("edts", box("elst", kind, struct.pack(">I", len(edits)), *entries)),
        box("mdia", box("mdhd", kind, dates, struct.pack(">I", RATE))),
    )
    head = box("mvhd", kind, dates, struct.pack(">I", TICKS))
    return box("ftyp") + box("moov", head, track, box("mvex") if fragmented else b"")


def read(data: bytes) -> EditList | None:
    return edit_lists(io.BytesIO(data), 0, len(data)).get(7)


@pytest.mark.parametrize("version", [0, 1])
def test_spans_in_seconds_of_the_track(version):
    found = read(movie((500, -1), (2_000, 1_024), (0, 480_000), version=version))
    start = Fraction(1_024, RATE)
    assert found == EditList(((start, start + 2), (Fraction(10), None)), Fraction(1, TICKS), Fraction(1, 2))
    assert found.in_order


def test_the_end_of_a_fragmented_file_is_not_known():
    assert read(movie((2_000, 1_024), fragmented=True)).spans == ((Fraction(1_024, RATE), None),)


def test_spans_out_of_order():
    assert not read(movie((1_000, 48_000), (1_000, 0))).in_order
    assert not read(movie((1_000, 0), (1_000, 0))).in_order
    assert not read(movie((0, 0), (1_000, 48_000))).in_order


def test_files_without_edits():
    assert read(movie((500, -1))) is None
    assert read(b"") is None
    assert read(b"RIFF" + bytes(100)) is None


@pytest.mark.parametrize("end", range(0, 220, 7))
def test_incomplete_files_do_no_harm(end):
    read(movie((500, -1), (2_000, 1_024))[:end])


def test_a_table_that_claims_too_many_edits():
    data = movie((2_000, 0))
    at = data.index(b"elst") + 8
    assert len(read(data[:at] + b"\xff" * 4 + data[at + 4 :]).spans) < 100
