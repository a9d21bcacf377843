"""Video encoders of FFmpeg with PyAV, whose elementary streams are written to a file (VP9: in IVF), in one thread."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from narrows.errors import MediaError
from narrows.evaluation.base import Json, OperatingPoint, Unavailable
from narrows.evaluation.baselines import ffmpeg
from narrows.evaluation.baselines.settings import SettingRange

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

NO_SEI = "filter_units=remove_types=6"  # FFmpeg's bitstream filter that removes the text banner of x264


@dataclass(frozen=True)
class StreamEncoder:
    """One of FFmpeg's video encoders.

    Args:
        name: FFmpeg's name.
        suffix: Suffix of the stream.
        settings: Accepted quantizers.
        options: Function from a setting to FFmpeg's options.
        filter: FFmpeg's bitstream filter that removes the encoder's text banner.
        min_width: Smallest width of frames in pixels.
    """

    name: str
    suffix: str
    settings: SettingRange
    options: Callable[[float], dict[str, str]]
    filter: str | None = None
    min_width: int = 1

    def key(self, setting: float) -> dict[str, Json]:
        """Encoder, options and versions."""
        options: dict[str, Json] = dict(self.options(setting))
        return {"encoder": self.name, "options": options, "versions": ffmpeg.pyav_versions()}

    def check(self) -> None:
        """Raises Unavailable if PyAV lacks the encoder."""
        if not ffmpeg.pyav_has_encoder(self.name):
            raise Unavailable(f"this PyAV has no encoder {self.name}")

    def write(self, path: Path, setting: float, frames: Iterable["VideoFrame"], rate: Fraction) -> None:
        """Encodes frames of one size and format, in order, and writes their stream.

        Args:
            path: File to write.
            setting: Quantizer.
            frames: Frames in the format to encode, with their matrix and range.
            rate: Frames per second.

        Raises:
            MediaError: The encoder rejects the frames; the message is its reason.
        """
        import av
        from av.bitstream import BitStreamFilterContext

        self.check()
        os.environ.setdefault("SVT_LOG", "0")  # SVT-AV1 prints its configuration otherwise
        try:
            packets, stream = list[Any](), None
            with av.open(str(path), "w") as file:
                for place, frame in enumerate(frames):
                    stream = stream or self._stream(file, setting, frame, rate)
                    frame.pts, frame.time_base = place, 1 / rate
                    packets += stream.encode(frame)
                assert stream is not None
                packets += stream.encode(None)
                if self.filter:
                    banner_filter = BitStreamFilterContext(self.filter, stream)
                    packets = [filtered for packet in packets for filtered in banner_filter.filter(packet)]
                for packet in packets:
                    file.mux(packet)
        except (av.FFmpegError, ValueError) as error:
            raise MediaError(str(getattr(error, "strerror", None) or error)) from error

    def _stream(self, file: "OutputContainer", setting: float, frame: "VideoFrame", rate: Fraction) -> "VideoStream":
        if frame.width < self.min_width:
            raise MediaError(f"it needs {self.min_width} columns")
        stream = cast("VideoStream", file.add_stream(self.name, rate=rate, options=self.options(setting)))
        stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, frame.format.name
        context = stream.codec_context
        context.color_range, context.colorspace, context.thread_count = frame.color_range, frame.colorspace, 1
        return stream


def decoded_frames(path: Path) -> Iterator["VideoFrame"]:
    """The frames of a stream, in display order. Raises MediaError if it cannot be decoded."""
    import av

    try:
        with av.open(str(path)) as file:
            file.streams.video[0].codec_context.thread_count = 1
            yield from file.decode(video=0)
    except av.FFmpegError as error:
        raise MediaError(f"{path.name} cannot be decoded; use another setting") from error


def packet_sizes(path: Path) -> list[int]:
    """Bytes of each packet of a stream, one for each frame that is shown."""
    import av

    with av.open(str(path)) as file:
        return [packet.size for packet in file.demux() if packet.size]


@dataclass(frozen=True)
class StreamBaseline(OperatingPoint):
    """A video encoder at one quantizer; its bytes are those of the stream's packets, which include the codec's headers.

    Args:
        family: Name in `encoders`.
        setting: QP or CRF; higher is a lower quality.

    Attributes:
        encoders: The encoders by name.

    Raises:
        InputError: The encoder does not accept the setting.
    """

    encoders: ClassVar[Mapping[str, StreamEncoder]]
    family: str
    setting: float

    def __post_init__(self) -> None:
        self.encoder.settings.check(self.family, self.setting)

    @property
    def encoder(self) -> StreamEncoder:
        """The encoder."""
        return self.encoders[self.family]

    @property
    def key(self) -> Mapping[str, Json]:
        """Encoder, options and versions."""
        return self.encoder.key(self.setting)

    def check(self) -> None:
        """Raises Unavailable if PyAV lacks the encoder."""
        self.encoder.check()

    def payload(self, path: Path) -> int:
        """Number of bytes of the packets."""
        return sum(packet_sizes(path))
