"""Writes video files frame by frame; the file appears only when it is complete.

frames (3, H, W) ─▶ BT.709 ─▶ encoder ─┐
                                       ├─▶ .narrows-….part ─▶ complete? ─▶ out.mp4
sound (C, n) ────────────▶ encoder ────┘
"""

import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from fractions import Fraction
from itertools import pairwise
from math import ceil, lcm
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from narrows.errors import InputError, MediaError, described
from narrows.media.atomic import atomic_write, write_error
from narrows.media.files import library_errors, quoted
from narrows.media.targets import Target, suffix_of
from narrows.media.video.colours import FromRgb
from narrows.media.video.decoder import opened
from narrows.media.video.formats import FORMATS, Format
from narrows.media.video.limits import check_size, exact_rate
from narrows.media.video.signal import Pixels, Sound, check_times
from narrows.media.video.sound_encoder import SoundEncoder

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

_MAX_UNITS = 2**31 - 1  # units per second of time stamps
_MICROSECONDS = 1_000_000
_BT709, _LIMITED, _RGB, _FULL, _SRGB = 1, 1, 0, 2, 13  # FFmpeg's numbers
_BLOCK = 1 << 16  # bytes of a write that finds out why another failed


class VideoWriter:
    """A video file that is written frame by frame.

        with VideoWriter("clip.mp4", height=256, width=256, rate=Fraction(30_000, 1_001)) as writer:
            for frame in frames:  # (3, 256, 256) uint8
                writer.write(frame)

    The file appears at the end of the `with` block; after an error in the block, KeyboardInterrupt included, no file is
    left and an older one is unchanged. The suffix of the path, or the argument `format`, selects the format:

        .mp4, .mov    H.264 with 4:2:0, for odd sizes with 4:4:4, which some players do not take; sound in AAC
        .webm         VP9 with 4:2:0; sound in Opus
        .mkv          FFV1 in RGB, lossless; sound in FLAC of 16 bits, lossless for such

    The size is kept exactly. Colours are converted to BT.709 with limited range and tagged so. Time stamps are exact in
    MP4 and MOV; WebM and Matroska round them to milliseconds and state a constant rate besides. So do they with a sound
    that begins beside the first frame: silence is added in front, so that the offset is kept to the sample.

    Args:
        target: the path of the output file, or a binary file object, which is written to once all is encoded, from its
            position on, and stays open.
        height, width: of the frames in pixels.
        rate: frames per second, an integer or a Fraction.
        times: instead of a rate, the seconds of each frame after the first, as integers or Fractions; the first is 0.
        sound: the sound track; its blocks are read as the frames are written. None for a clip without sound.
        overwrite: whether an existing file may be replaced.
        format: "mp4", "mov", "webm" or "mkv"; needed for a file object.

    Raises:
        InputError: for an unknown suffix, a size, rate, times, frames or sound that cannot be written.
        MediaError: for a path that cannot be written, an existing file without `overwrite`, and a full disk.
    """

    def __init__(
        self,
        target: Target,
        height: int,
        width: int,
        rate: Fraction | int | None = None,
        *,
        times: Sequence[Fraction] | None = None,
        sound: Sound | None = None,
        overwrite: bool = False,
        format: str | None = None,
    ) -> None:
        self._name = quoted(target)
        self._format = format_of(target, format)
        check_size(height, width)
        if (rate is None) == (times is None):
            raise InputError("expected either a rate or times, got " + ("none" if rate is None else "both"))
        self._rate = None if rate is None else exact_rate(rate)
        self._times = None if times is None else tuple(times)
        if self._times is not None:
            check_times(self._times)
        _check_steps(self._rate, self._times, self._format, self._name)
        self._sound = None if sound is None else SoundEncoder(sound, self._format, self._name)
        self._start, self._silence = _alignment(self._sound, self._format)
        self._base = _time_base(self._rate, self._times, self._start)
        self._target, self._overwrite = target, overwrite
        self._stack = ExitStack()
        self._container: OutputContainer | None = None
        self.height, self.width = height, width
        self.frames = 0  # written so far

    def __enter__(self) -> Self:
        import av  # not at the top: loading FFmpeg takes 0.1 s

        with ExitStack() as stack:
            self._file = stack.enter_context(atomic_write(self._target, overwrite=self._overwrite))
            options = dict(self._format.muxer_options)
            if self._sound and not self._format.milliseconds:
                options["movie_timescale"] = str(self._sound.sample_rate)
            with library_errors(self._target, self._refusal):
                self._container = av.open(
                    f"file:{self._file.name}", "w", format=self._format.container, container_options=options
                )
                stack.callback(self._discard)
                self._stream = self._video_stream(self._container)
                self._convert = FromRgb(self._format.pixel_format(self.height, self.width))
                if self._sound:
                    self._sound.open(self._container, self._silence)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            with self._stack:
                self._finish()
        else:
            self._stack.__exit__(kind, error, traceback)

    def write(self, frame: Pixels) -> None:
        """Append a frame (3, H, W) uint8, RGB.

        Raises:
            InputError: for another shape or type, and for more frames than times.
            MediaError: for a full disk; and what reading the sound raises.
        """
        if self._container is None:
            raise InputError(f"{self._name} is not open; write to it inside: with VideoWriter(...) as writer")
        shape = (3, self.height, self.width)
        if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.shape != shape:
            raise InputError(f"expected a frame {shape} uint8, got {described(frame)}")
        time = self._time_of(self.frames)
        with library_errors(self._target, self._failure):
            if self._sound:
                self._sound.write_until(time)
            picture = self._convert(frame)
            picture.pts, picture.time_base = round((self._start + time) / self._base), self._base
            for packet in self._stream.encode(picture):
                self._container.mux(packet)
        self.frames += 1

    def _time_of(self, place: int) -> Fraction:
        if self._rate is not None:
            return place / self._rate
        assert self._times is not None
        if place >= len(self._times):
            raise InputError(f"expected {len(self._times)} frames, one per time, got more for {self._name}")
        return Fraction(self._times[place])

    def _video_stream(self, container: "OutputContainer") -> "VideoStream":
        options = self._format.encoder_options(self.width)
        stream: Any = container.add_stream(self._format.codec, rate=self._mean_rate(), options=options)
        context = stream.codec_context
        context.height, context.width = self.height, self.width
        context.pix_fmt = self._format.pixel_format(self.height, self.width)
        context.time_base = self._base
        stream.time_base = self._base
        rgb = self._format.lossless
        context.colorspace, context.color_range = (_RGB, _FULL) if rgb else (_BT709, _LIMITED)
        context.color_primaries, context.color_trc = _BT709, _SRGB if rgb else _BT709
        context.sample_aspect_ratio = Fraction(1)
        result: VideoStream = stream
        return result

    def _mean_rate(self) -> Fraction:
        """The rate, or that of the times on average, for the encoder and the header."""
        if self._rate is not None:
            return self._rate
        assert self._times is not None
        last = Fraction(self._times[-1])
        rate = (len(self._times) - 1) / last if last else Fraction(1)
        return max(rate, Fraction(1, 1000)).limit_denominator(100_000)

    def _finish(self) -> None:
        """Close the encoders and check that the file is complete."""
        if self.frames == 0:
            raise InputError(f"expected one frame or more for {self._name}, got no frames")
        if self._times is not None and self.frames < len(self._times):
            raise InputError(f"expected {len(self._times)} frames, one per time, got {self.frames} for {self._name}")
        container, self._container = self._container, None
        assert container is not None
        with library_errors(self._target, self._failure):
            for packet in self._stream.encode(None):
                container.mux(packet)
            if self._sound:
                self._sound.finish()
            container.close()
        with library_errors(self._target, self._failure), opened(self._file.name) as written:
            stream = written.streams.video[0]
            found = sum(1 for packet in written.demux(stream) if packet.size)
        if found != self.frames:
            raise MediaError(self._failure(f"{found} of {self.frames} frames were written"))

    def _discard(self) -> None:
        """Close the encoders of a file that is not kept."""
        container, self._container = self._container, None
        if container is not None:
            with suppress(Exception):  # of any class; the file is removed
                container.close()

    def _refusal(self, reason: str) -> str:
        return f"{self._name} cannot be written ({reason}); choose another size, rate or format"

    def _failure(self, reason: str) -> str:
        """The message for a failed write; one more write finds out whether the disk is full."""
        self._discard()
        try:
            with open(self._file.name, "ab", buffering=0) as file:
                for _ in range(2):  # the first may fill the rest of the disk
                    file.write(bytes(_BLOCK))
                os.fsync(file.fileno())
        except OSError as error:
            return str(write_error(self._name, error))
        return str(write_error(self._name, reason))


def format_of(target: Target, format: str | None) -> Format:
    """The format of an output. Raises InputError for an unknown one."""
    return FORMATS[suffix_of(target, format, FORMATS)]


def check_target(target: Target, format: str | None = None) -> None:
    """Raise InputError for an output that cannot be written or whose format is unknown."""
    format_of(target, format)


def _check_steps(rate: Fraction | None, times: tuple[Fraction, ...] | None, format: Format, name: str) -> None:
    """Raise InputError for frames that follow each other faster than the format can tell."""
    steps = [1 / rate] if rate is not None else [later - earlier for earlier, later in pairwise(times or ())]
    unit = Fraction(1, 1_000) if format.milliseconds else Fraction(1, _MICROSECONDS)
    if min(steps, default=unit) < unit:
        raise InputError(
            f"expected frames at least {float(unit):g} s apart for {name}, got {float(min(steps)):g} s"
            + ("; write an .mp4" if format.milliseconds else "; leave some out")
        )


def _alignment(sound: SoundEncoder | None, format: Format) -> tuple[Fraction, int]:
    """The time of the first frame in the file in seconds, and by how many samples the sound begins later than 0.

    Either is 0 where time stamps are exact. Where they are rounded, the first frame has a whole number of milliseconds.
    """
    if sound is None or sound.offset == 0:
        return Fraction(0), 0
    if sound.offset > 0:
        return Fraction(0), sound.offset
    start = Fraction(-sound.offset, sound.sample_rate)
    if format.milliseconds:
        start = Fraction(ceil(start * 1_000), 1_000)
    return start, round(start * sound.sample_rate) + sound.offset


def _time_base(rate: Fraction | None, times: tuple[Fraction, ...] | None, start: Fraction) -> Fraction:
    """The unit of the time stamps in seconds, which divides all of them; a microsecond where none does."""
    units = start.denominator
    for time in [1 / rate] if rate is not None else map(Fraction, times or ()):
        units = lcm(units, time.denominator)
        if units > _MAX_UNITS:
            return Fraction(1, _MICROSECONDS)
    return Fraction(1, units)
