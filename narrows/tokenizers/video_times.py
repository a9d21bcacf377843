"""The times of frames of a variable rate as an attachment of Tokens: exact, in a unit that divides them all.

varint(units per second) varint(difference) ...        differences of successive times in units
"""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from math import lcm
from typing import cast

from narrows.bitstream.header import TIMES
from narrows.bitstream.varint import Cursor, to_varint
from narrows.errors import DamagedStream, InputError
from narrows.media.extents import MAX_COUNT, MAX_RATE, VideoExtent
from narrows.tokenizers.tokens import Latents, Tokens


def times_attachment(times: Sequence[Fraction]) -> bytes:
    """The times of frames in seconds, which begin at 0 and increase, as bytes.

    Raises InputError for times without a common unit of at least 1 / (2^31 - 1) seconds.
    """
    units = lcm(*(time.denominator for time in times))
    if units > MAX_RATE:
        raise InputError(f"expected times in a unit of 1 / {MAX_RATE} s or more, got 1 / {units} s; round them")
    return to_varint(units) + b"".join(to_varint(int((b - a) * units)) for a, b in pairwise(times))


def attached_times(item: Tokens | Latents) -> tuple[Fraction, ...] | None:
    """The times of the frames of an item; None for a constant rate. Raises DamagedStream as `times_of` does."""
    data = item.attachments.get(TIMES)
    return None if data is None else times_of(data, cast(VideoExtent, item.extent).frames)


def times_of(data: bytes, frames: int) -> tuple[Fraction, ...]:
    """The times of `frames` frames from an attachment. Raises DamagedStream for bytes that hold no such times."""
    cursor = Cursor(memoryview(data))
    units, place = cursor.varint(MAX_RATE, "the unit of the times"), 0
    if units < 1:
        raise DamagedStream("expected times in a unit above 0 s, got 0; the stream is damaged")
    times = [Fraction(0)]
    for _ in range(min(frames, len(data)) - 1):
        place += cursor.varint(MAX_COUNT, "a time")
        times.append(Fraction(place, units))
    if cursor.position != len(data) or len(times) != frames or len(set(times)) != frames:
        raise DamagedStream(f"expected {frames} increasing times, got others; the stream is damaged")
    return tuple(times)
