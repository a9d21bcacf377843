"""Operating points of video encoders in FFmpeg, with PyAV: whole clips with groups of pictures.

RGB ─ even sides, Y′CbCr 4:2:0, BT.709, limited range ─▶ encoder ─▶ stream ─▶ decoder ─▶ RGB, of the original size

The conversions are those of `narrows.media.video`. Chroma of half the size limits the PSNR of RGB at any setting.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from narrows.errors import MediaError
from narrows.evaluation.base import CodingResult
from narrows.evaluation.baselines.settings import SettingRange
from narrows.evaluation.baselines.streams import NO_SEI, StreamBaseline, StreamEncoder, decoded_frames, packet_sizes
from narrows.media.medium import Signal
from narrows.media.video import Video
from narrows.media.video.colours import FromRgb, ToRgb
from narrows.media.video.formats import X264_ASM

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

NOMINAL_RATE = Fraction(25)  # of a decoded stream, which has no time stamps
GROUP = "250"  # largest distance of key frames, in frames; the default of x264 and x265


def _x264(crf: float) -> dict[str, str]:
    return {"preset": "medium", "tune": "psnr", "crf": f"{crf:g}", "g": GROUP, "x264-params": X264_ASM}


def _x265(crf: float) -> dict[str, str]:
    quiet = "info=0:log-level=none:pools=none:frame-threads=1:wpp=0"
    return {"preset": "medium", "tune": "psnr", "crf": f"{crf:g}", "g": GROUP, "x265-params": quiet}


def _vp9(crf: float) -> dict[str, str]:
    return {"deadline": "good", "cpu-used": "2", "crf": f"{crf:g}", "b": "0", "g": GROUP}


def _svt_av1(crf: float) -> dict[str, str]:
    return {"preset": "6", "crf": f"{crf:g}", "g": GROUP, "svtav1-params": "tune=1:lp=1"}  # tune 1: PSNR


# With fewer than 50 columns, the look-ahead of x265 4.2 ("cutree") writes beyond its memory.
VIDEO_ENCODERS = {
    "x264": StreamEncoder("libx264", ".h264", SettingRange("CRF", 1, 51, 28, integer=False), _x264, NO_SEI),
    "x265": StreamEncoder("libx265", ".hevc", SettingRange("CRF", 0, 51, 28, integer=False), _x265, min_width=64),
    "vp9": StreamEncoder("libvpx-vp9", ".ivf", SettingRange("CRF", 0, 63, 36), _vp9),
    "svt-av1": StreamEncoder("libsvtav1", ".obu", SettingRange("CRF", 1, 63, 36), _svt_av1),
}


@dataclass(frozen=True)
class VideoBaseline(StreamBaseline):
    """A video encoder of VIDEO_ENCODERS at one constant rate factor, in one pass.

    The bytes are those of the stream's packets, which include the codec's headers; no container is counted, and no
    time stamps.

    Args:
        family: Name in VIDEO_ENCODERS.
        setting: CRF; higher is a lower quality.

    Raises:
        InputError: The encoder does not accept the setting.
    """

    medium: ClassVar[str] = "video"
    encoders: ClassVar[Mapping[str, StreamEncoder]] = VIDEO_ENCODERS

    def encode(self, signal: Signal, folder: Path) -> Path:
        """Writes the stream. Raises MediaError if the encoder rejects the clip, for example for its size."""
        clip, path = cast(Video, signal), folder / f"coded{self.encoder.suffix}"
        try:
            self.encoder.write(path, self.setting, _even_frames(clip), clip.rate)
        except MediaError as error:
            height, width = clip.pixels.shape[2:]
            raise MediaError(
                f"{self.family} cannot encode this clip of {width} × {height} pixels ({error}); skip the clip or the "
                "codec"
            ) from error
        return path

    def decode(self, path: Path) -> Video:
        """The decoded clip, with even sides, at a nominal rate. Raises MediaError unless it has one frame a packet."""
        expected, to_rgb = len(packet_sizes(path)), ToRgb()
        pixels, count = np.empty((0,), np.uint8), 0
        for count, frame in enumerate(decoded_frames(path), 1):
            if count == 1:
                pixels = np.empty((3, expected, frame.height, frame.width), np.uint8)
            if count <= expected:
                pixels[:, count - 1] = to_rgb(frame)
        if not count or count != expected:
            raise MediaError(f"expected {expected} frames from {self.family}, got {count}; use another setting")
        return Video(pixels, NOMINAL_RATE)

    def round_trip(self, signal: Signal, folder: Path) -> CodingResult:
        """Encodes and decodes a clip, and removes the row and column that made its sides even."""
        path = self.encode(signal, folder)
        height, width = signal.array.shape[2:]
        decoded, size = self.decode(path), self.payload(path)
        return CodingResult(decoded.with_array(decoded.pixels[:, :, :height, :width]), size, size)


def _even_frames(clip: Video) -> Iterator["VideoFrame"]:
    """The frames in Y′CbCr 4:2:0; the last row and column are repeated where a side is odd."""
    convert, pixels = FromRgb("yuv420p"), clip.pixels
    odd = [(0, side % 2) for side in pixels.shape[2:]]
    for place in range(pixels.shape[1]):
        yield convert(np.pad(pixels[:, place], ((0, 0), *odd), mode="edge"))
