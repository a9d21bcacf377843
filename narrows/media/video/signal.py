"""A clip in memory, a frame of it, its sound track, and what is known of a video file."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from narrows.errors import InputError, described
from narrows.media.extents import VideoExtent
from narrows.media.medium import Signal
from narrows.media.video.limits import exact_rate

Pixels = NDArray[np.uint8]  # (3, H, W), RGB


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame of a clip.

    Attributes:
        pixels: (3, H, W), RGB.
        time: seconds after the first frame of the clip, exactly as the file states it; 0 for the first.
    """

    pixels: Pixels
    time: Fraction


@dataclass(frozen=True, eq=False)
class Sound:
    """The sound track of a clip.

    Attributes:
        blocks: samples (C, n) float32, in order.
        sample_rate: in Hz.
        channels: number of channels C.
        offset: time of the first sample in samples after the first frame of the clip; negative for one before it.
    """

    blocks: Iterable[NDArray[np.float32]]
    sample_rate: int
    channels: int
    offset: int = 0


@dataclass(frozen=True)
class VideoInfo:
    """Properties of a video file.

    Attributes:
        height, width: size of the frames that reading gives, after the orientation is applied.
        frames: number of frames; None if only the header was read.
        rate: frames per second, as the header states it until the frames are counted. None if the rate is not constant,
            and where nothing states it.
        times: of a counted clip whose rate is not constant, the seconds of each frame after the first; None for others.
        start: time stamp of the first frame in seconds, on the clock of the file.
        duration: seconds from the first frame to the end of the last; None if it is not known.
        format: of the file, as FFmpeg names it: "mov,mp4,m4a,...", "matroska,webm", ...
        codec: of the video: "h264", "vp9", ...
        pixel_format: as FFmpeg names it: "yuv420p", "yuv420p10le", "gbrp", ...
        bits: of a sample in the file.
        matrix: "rgb", "bt601", "bt709", "bt2020", "fcc" or "smpte240m".
        matrix_stated: whether the file states the matrix. Otherwise it is the one that players assume: BT.709 for
            frames of at least 1280 columns or 577 rows, BT.601 for smaller ones.
        full_range: whether black and white are 0 and 255 in the file, not 16 and 235.
        rotation: degrees by which stored frames are turned clockwise to be upright; 0, 90, 180 or 270.
        mirrored: whether stored frames are mirrored, left to right, before they are turned.
        pixel_aspect: width of a pixel over its height.
        interlaced: whether the frames consist of two fields of different times.
        alpha: whether the file holds transparency.
        sound: whether the file has a sound track.
        sound_format: codec, rate and channels of the sound, for people; empty without a known sound.
        notes: what reading changes or leaves out, one line each.
    """

    height: int
    width: int
    frames: int | None
    rate: Fraction | None
    times: tuple[Fraction, ...] | None
    start: Fraction
    duration: Fraction | None
    format: str
    codec: str
    pixel_format: str
    bits: int
    matrix: str
    matrix_stated: bool
    full_range: bool
    rotation: int
    mirrored: bool
    pixel_aspect: Fraction
    interlaced: bool
    alpha: bool
    sound: bool
    sound_format: str = ""
    notes: tuple[str, ...] = ()

    @property
    def facts(self) -> dict[str, Any]:
        """Duration, size, frames and their rate, None for one that varies, format and colours."""
        return {
            "seconds": None if self.duration is None else round(float(self.duration), 3),
            "width": self.width,
            "height": self.height,
            "frames": self.frames,
            "frames_per_second": None if self.rate is None else round(float(self.rate), 6),
            "variable_rate": self.times is not None,
            "format": self.format,
            "codec": self.codec,
            "pixel_format": self.pixel_format,
            "bits": self.bits,
            "matrix": self.matrix,
            "range": "full" if self.full_range else "limited",
            "rotation": self.rotation,
            "mirrored": self.mirrored,
            "pixel_aspect": f"{self.pixel_aspect.numerator}:{self.pixel_aspect.denominator}",
            "interlaced": self.interlaced,
            "alpha": self.alpha,
            "sound": self.sound_format or self.sound,
        }

    @property
    def warnings(self) -> tuple[str, ...]:
        """What reading changes or leaves out."""
        return self.notes

    @property
    def extent(self) -> VideoExtent:
        """Frames, size and rate; of a clip without a constant rate, the mean rate.

        Raises InputError if the frames are not counted.
        """
        if self.frames is None:
            raise InputError("expected a known number of frames, got None; use probe(), which counts them")
        rate = self.rate
        if rate is None:
            rate = self.frames / self.duration if self.duration else Fraction(1)
            rate = rate.limit_denominator(1_000_000)
        return VideoExtent(self.frames, self.height, self.width, 3, *rate.as_integer_ratio())

    @property
    def seconds(self) -> float:
        """The duration. Raises InputError if it is not known."""
        if self.duration is None:
            raise InputError("expected a known duration, got None; use probe(), which counts the frames")
        return float(self.duration)


@dataclass(frozen=True, eq=False, repr=False)
class Video(Signal):
    """Pixels (3, T, H, W) uint8 in RGB, T frames at `rate` per second. The sound is kept apart.

    Attributes:
        pixels: the frames.
        rate: frames per second.
        times: seconds of each frame after the first, for a rate that is not constant, of which `rate` is the mean.

    Raises:
        InputError: for pixels of another shape or dtype, a rate that is no fraction, and times that do not fit.
    """

    medium: ClassVar[str] = "video"

    pixels: NDArray[np.uint8]
    rate: Fraction
    times: tuple[Fraction, ...] | None = None

    def __post_init__(self) -> None:
        pixels = self.pixels
        if (
            not isinstance(pixels, np.ndarray)
            or pixels.dtype != np.uint8
            or pixels.ndim != 4
            or (len(pixels) != 3 or 0 in pixels.shape)
        ):
            raise InputError(f"expected pixels (3, T, H, W) uint8, got {described(pixels)}")
        object.__setattr__(self, "rate", exact_rate(self.rate))
        if self.times is not None:
            check_times(self.times)
            if len(self.times) != pixels.shape[1]:
                raise InputError(f"expected {pixels.shape[1]} times, one per frame, got {len(self.times)}")

    def __repr__(self) -> str:
        return f"Video({self.extent}, {self.pixels.shape[1]} frames)"

    @property
    def extent(self) -> VideoExtent:
        """Frames, height, width, channels and rate."""
        _, frames, height, width = self.pixels.shape
        return VideoExtent(frames, height, width, 3, *self.rate.as_integer_ratio())

    @property
    def array(self) -> NDArray[np.uint8]:
        """The pixels."""
        return self.pixels

    def with_array(self, array: NDArray[np.generic]) -> "Video":
        """A new clip with the given pixels (3, T, H, W), at the same rate; with the same times if T is the same."""
        same = self.times is not None and array.shape[1] == len(self.times)
        return Video(array.astype(np.uint8, copy=False), self.rate, self.times if same else None)


def check_times(times: tuple[Fraction, ...]) -> None:
    """Raise InputError for times that do not begin at 0 or do not increase."""
    if not times or any(not isinstance(time, int | Fraction) for time in times):
        raise InputError("expected times as integers or Fractions of seconds, one per frame, got none or others")
    if times[0] != 0:
        raise InputError(f"expected times that begin at 0, got {times[0]}; subtract the first from all")
    for place, (earlier, later) in enumerate(pairwise(times)):
        if later <= earlier:
            raise InputError(f"expected times that increase, got {later} after {earlier} at frame {place + 1}")
