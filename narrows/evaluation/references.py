"""Reads the references of an evaluation: whole files or their beginnings, clips within a limit of memory."""

from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import cast

import numpy as np

from narrows.errors import MediaError
from narrows.media import audio
from narrows.media.audio import Audio
from narrows.media.files import quoted
from narrows.media.image import Image, read_opaque
from narrows.media.video import Video, VideoInfo, VideoReader

MAX_CLIP = 1 << 30  # bytes of pixels of 8 bits; the decoded clip is in memory beside it


def read_audio(path: Path, seconds: float | None = None) -> Audio:
    """The recording, or its first seconds. Raises MediaError as `audio.read` does."""
    recording = audio.read(path)
    if seconds is None or seconds >= recording.amount:
        return recording
    samples = recording.samples[:, : max(1, round(seconds * recording.sample_rate))]
    return Audio(samples.copy(), recording.sample_rate)


def read_image(path: Path, seconds: float | None = None) -> Image:
    """The image in RGB; `seconds` has no effect. Raises MediaError as `read_opaque` does."""
    return read_opaque(path).as_rgb()


def read_clip(path: Path, seconds: float | None = None) -> Video:
    """The clip without its sound, or its frames that begin in the first seconds.

    Raises MediaError as VideoReader and its `frames` do, and for frames of more than 1 GiB as pixels of 8 bits.
    """
    with VideoReader(path) as reader:
        info = reader.counted()
        rate = Fraction(info.extent.rate, info.extent.rate_base)
        count = _frames_within(info, rate, seconds)
        size = 3 * info.height * info.width
        if count * size > MAX_CLIP:
            fitting = MAX_CLIP // size / float(rate)
            raise MediaError(
                f"expected a clip of at most {MAX_CLIP >> 20} MiB as pixels, got {quoted(path)} with {count} frames of "
                f"{info.width} × {info.height}; evaluate its beginning, with --max-seconds up to {fitting:.2g}"
            )
        pixels, found = np.empty((3, count, info.height, info.width), np.uint8), 0
        frames = reader.frames()
        for frame in frames if seconds is None else islice(frames, count):  # the end of a whole clip is checked
            pixels[:, found] = frame.pixels
            found += 1
    return Video(pixels[:, :found], rate, info.times and info.times[:found])


def _frames_within(info: VideoInfo, rate: Fraction, seconds: float | None) -> int:
    """How many frames begin in the first seconds, at least one; all for None."""
    count = cast(int, info.frames)
    if seconds is None:
        return count
    times = info.times or (place / rate for place in range(count))
    return max(1, sum(time < seconds for time in times))
