"""Reading, inspecting and writing video files, frame by frame.

probe, frames, read, write      a VideoInfo with the number of frames; each Frame; a Video; a file
has_frames                      whether a file has a video track
VideoReader, VideoWriter        open files
Sound, aligned                  a sound track and its time; its samples from the first frame on
check_target                    the format of an output

Frames are RGB (3, H, W) uint8, upright. Times are exact fractions of seconds after the first frame.

>>> from narrows.media import video
>>> video.write("grey.mkv", [np.full((3, 4, 6), 128, np.uint8)] * 5, rate=25)
>>> video.probe("grey.mkv").frames
5
>>> [frame.time for frame in video.frames("grey.mkv", start=0.1)]
[Fraction(3, 25), Fraction(4, 25)]
"""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction

import numpy as np

from narrows.errors import InputError, described
from narrows.media.extents import VideoExtent
from narrows.media.files import Source
from narrows.media.medium import Medium, Signal
from narrows.media.targets import Target
from narrows.media.video.decoder import has_frames
from narrows.media.video.limits import MAX_PIXELS
from narrows.media.video.reader import VideoReader
from narrows.media.video.signal import Frame, Pixels, Sound, Video, VideoInfo
from narrows.media.video.sound import aligned
from narrows.media.video.writer import VideoWriter, check_target

__all__ = [
    "MAX_PIXELS",
    "MEDIUM",
    "SUFFIXES",
    "Frame",
    "Sound",
    "Video",
    "VideoInfo",
    "VideoReader",
    "VideoWriter",
    "aligned",
    "check_target",
    "frames",
    "has_frames",
    "probe",
    "read",
    "write",
]

SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".webm", ".mkv", ".avi", ".wmv", ".asf", ".flv", ".ogv"}
    | {".ts", ".m2ts", ".mts", ".mpg", ".mpeg", ".vob", ".ivf"}
)


def probe(source: Source) -> VideoInfo:
    """Properties of a video file, with the number of frames and their rate or times.

    All packets are read, but only the first frame is decoded. `source` and errors as for VideoReader and its `counted`.
    """
    with VideoReader(source) as reader:
        return reader.counted()


def frames(
    source: Source, start: Fraction | float | None = None, stop: Fraction | float | None = None
) -> Iterator[Frame]:
    """Iterate over the frames of a file, one in memory at a time.

    The file is opened when the first frame is requested. Arguments and errors as of VideoReader and its `frames`.
    """
    with VideoReader(source) as reader:
        yield from reader.frames(start, stop)


def read(source: Source) -> Video:
    """All frames of a file, in memory. Raises MediaError as VideoReader and its `frames` do."""
    with VideoReader(source) as reader:
        info = reader.counted()
        found = list(reader.frames())
        pixels = np.stack([frame.pixels for frame in found], axis=1)
        times = None if info.rate is not None else tuple(frame.time for frame in found)
        extent = info.extent
        return Video(pixels, Fraction(extent.rate, extent.rate_base), times)


def write(
    target: Target,
    frames: Iterable[Pixels],
    rate: Fraction | int | None = None,
    *,
    times: Sequence[Fraction] | None = None,
    sound: Sound | None = None,
    overwrite: bool = False,
    format: str | None = None,
) -> None:
    """Write a video file in the format of its suffix. The file appears when it is complete.

    Args:
        target: the path of the output file, or a binary file object; see VideoWriter.
        frames: an iterable of frames (3, H, W) uint8, all of one size.
        rate, times, sound, overwrite, format: as of VideoWriter.

    Raises:
        InputError, MediaError: as VideoWriter does.
    """
    check_target(target, format)
    iterator = iter(frames)
    first = next(iterator, None)
    if first is None:
        raise InputError("expected one frame or more, got no frames")
    if np.ndim(first) != 3:
        raise InputError(f"expected frames (3, H, W) uint8, got {described(first)}")
    height, width = first.shape[1:]
    with VideoWriter(
        target, height, width, rate, times=times, sound=sound, overwrite=overwrite, format=format
    ) as writer:
        writer.write(first)
        for frame in iterator:
            writer.write(frame)


def _write(target: Target, signal: Signal, overwrite: bool, format: str | None = None) -> None:
    assert isinstance(signal, Video)
    rate = signal.rate if signal.times is None else None
    frames = (np.ascontiguousarray(frame) for frame in signal.pixels.swapaxes(0, 1))
    write(target, frames, rate, times=signal.times, overwrite=overwrite, format=format)


MEDIUM = Medium(
    name="video",
    files="videos",
    extent=VideoExtent,
    suffixes=SUFFIXES,
    default_suffix=".mp4",
    default_model="video",
    open=VideoReader,
    probe=probe,
    amount_of=lambda source: probe(source).extent.amount,
    read=read,
    write=_write,
    check_target=check_target,
    rate_unit="bits per pixel",
    rate_key="bits_per_pixel",
    rate_divisor=1,
    speed_unit="megapixels/s",
    speed_divisor=1e6,
    total_unit="megapixels",
    total_divisor=1e6,
    amount_unit="pixel",
    amount_per_minute=1 << 29,  # a minute of 640 × 480 at 30 frames per second
    amount_per_byte=100,
    min_amount=1 << 20,
)
