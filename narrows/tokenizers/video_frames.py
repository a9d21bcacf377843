"""Clips and frames as arrays, checked; frame rates; parts of a clip."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from narrows.errors import InputError, described, shortened
from narrows.media.extents import MAX_RATE, VideoExtent
from narrows.tokenizers.channels import as_array
from narrows.tokenizers.image_arrays import check_range
from narrows.tokenizers.image_tiles import FULL_SCALE
from narrows.tokenizers.settings import Progress, check_numbers
from narrows.tokenizers.video_tiles import Frame

Array = Tensor | NDArray[np.floating] | NDArray[np.uint8]
FrameRate = int | float | Fraction
T = TypeVar("T")
MAX_RATE_BASE = 1001  # of a frame rate that is given as a float, such as 29.97


class CheckedFrames:
    """Iterates over frames once: checks them and counts them.

    Attributes:
        count: frames so far.
    """

    def __init__(self, frames: Iterable[Frame]) -> None:
        self._frames, self.count = frames, 0

    def __iter__(self) -> Iterator[Frame]:
        shape: tuple[int, ...] | None = None
        for frame in self._frames:
            if not isinstance(frame, np.ndarray) or frame.ndim != 3 or len(frame) not in (1, 3) or 0 in frame.shape:
                raise InputError(f"expected frames (1 or 3, H, W), got {described(frame)}")
            if shape not in (None, frame.shape):
                raise InputError(f"expected frames of one shape {shape}, got {frame.shape} at frame {self.count}")
            if frame.dtype != np.uint8:
                if frame.dtype.kind != "f":
                    raise InputError(f"expected frames of floats in [-1, 1] or uint8, got {frame.dtype}")
                check_range(float(frame.min()), float(frame.max()))
            shape, self.count = frame.shape, self.count + 1
            yield frame


def as_clip(x: Array) -> NDArray[np.generic]:
    """A clip as an array (C, T, H, W). Raises InputError for another shape."""
    clip = as_array(x)
    if clip.ndim != 4 or clip.shape[0] not in (1, 3) or 0 in clip.shape:
        given = f"shape {clip.shape}" if clip.ndim else type(x).__name__
        raise InputError(f"expected a clip (1 or 3, T, H, W), got {given}")
    return clip


def as_rate(frame_rate: FrameRate) -> Fraction:
    """A frame rate as a fraction. Raises InputError unless it is a number above 0 with terms up to 2^31 - 1."""
    if isinstance(frame_rate, bool) or not isinstance(frame_rate, int | float | Fraction):
        raise InputError(f"expected a frame rate as a number or Fraction, got {shortened(frame_rate)}")
    try:
        rate = Fraction(frame_rate)
    except (ValueError, OverflowError):
        raise InputError(f"expected a finite frame rate, got {frame_rate}") from None
    rate = rate.limit_denominator(MAX_RATE_BASE) if isinstance(frame_rate, float) else rate
    if not 0 < rate <= MAX_RATE or rate.denominator > MAX_RATE:
        raise InputError(f"expected a frame rate above 0 and up to {MAX_RATE}, got {shortened(frame_rate)}")
    return rate


def part_of_clip(
    extent: VideoExtent, start: float, stop: float | None, times: Sequence[Fraction] | None = None
) -> tuple[int, int]:
    """The frames [first, last) from `start` to `stop` seconds; None for the end. `times`: of frames of a variable rate.

    Raises InputError for a part that is empty or not within the clip.
    """
    check_numbers(start=start, stop=stop)
    rate, end = extent.rate / extent.rate_base, extent.seconds
    try:
        first, last = round(start * rate), extent.frames if stop is None else round(stop * rate)
    except (ValueError, OverflowError) as error:
        raise InputError(f"expected start and stop in seconds, got {shortened(start)} and {shortened(stop)}") from error
    if times is not None and 0 <= start < end and (stop is None or stop <= end):
        seconds = [Fraction(time).limit_denominator(10**9) for time in (start, end if stop is None else stop)]
        first, last = bisect_left(times, seconds[0]), extent.frames if stop is None else bisect_left(times, seconds[1])
    if not 0 <= first < last <= extent.frames:
        given = f"{start:g} to {end if stop is None else stop:g}"
        raise InputError(f"expected a part of 0 to {end:.6g} s of at least a frame, got {given} s")
    return first, last


def reported(frames: Iterator[T], count: int, progress: Progress) -> Iterator[T]:
    """The frames, `count` in all; after each, the fraction until then is reported."""
    for done, frame in enumerate(frames, 1):
        yield frame
        progress(done / count)


def levels_of(block: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Frames (1 or 3, t, H, W) in [-1, 1] as RGB of 8 bits (3, t, H, W)."""
    levels: NDArray[np.uint8] = ((block + 1) * FULL_SCALE).round().astype(np.uint8)
    return levels if len(levels) == 3 else levels.repeat(3, 0)
