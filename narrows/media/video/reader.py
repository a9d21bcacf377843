"""Reads video files frame by frame, with memory that does not depend on their length.

path ─▶ FFmpeg ─▶ size? orientation? ─▶ frames from a time on ─▶ complete? ─▶ (3, H, W), time
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Any, TypeVar

from narrows.errors import InputError, MediaError, shortened
from narrows.media.audio.declared_end import declared_end, missing
from narrows.media.audio.edit_lists import edit_lists
from narrows.media.audio.limits import channels_text
from narrows.media.files import Source, library_errors, open_input, quoted, size_of, stored
from narrows.media.medium import Reader
from narrows.media.video.colours import ToRgb, colours_of
from narrows.media.video.decoder import (
    MP4,
    NoVideoError,
    chosen_stream,
    decoded,
    fraction_of,
    frames_of,
    opened,
    packet_stamp,
    time_base_of,
    video_streams,
)
from narrows.media.video.display import Orientation, orientation_of
from narrows.media.video.limits import MAX_PIXELS, size_error
from narrows.media.video.signal import Frame, Sound, VideoInfo
from narrows.media.video.sound import sound_of
from narrows.media.video.timing import constant_rate

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

ADVICE = "get the whole file again, or take what comes before it with --recover (recover=True in Python)"
_NANOSECONDS = 1_000_000_000
T = TypeVar("T")
_SQUARE = Fraction(1, 100)  # a deviation of the pixel aspect that comes from rounding the size


class VideoReader(Reader):
    """An open video file.

        with VideoReader("clip.mp4") as reader:
            for frame in reader.frames():
                ...  # frame.pixels (3, H, W), frame.time

    The format is recognised by the content of the file, not by its suffix. Of several video tracks the first is read.
    Frames are RGB by the matrix and range of the file, and upright. Opening decodes the first frame.

    Args:
        source: the path or bytes of a file, or a binary file object, which is read from its position to its end, into
            memory.
        sound: whether to read the sound track; if not, `sound` returns None.
        recover: of a damaged file, give the frames and the sound before the damage, without an error.

    Attributes:
        source: the path, or the file in memory.
        damage: with `recover`, what the errors would have said, as far as the file was read.

    Raises:
        MediaError: for a file that is missing, a folder, a pipe, empty, without video or in no format that can be
            decoded, for frames of more than `limits.MAX_PIXELS`, and for colours without a known conversion.
    """

    def __init__(self, source: Source, *, sound: bool = True, recover: bool = False) -> None:
        self.source = self._path = path = stored(source)
        self._sound, self._recover = sound, recover
        self.damage: list[str] = []
        self._name = quoted(path)
        self._closed = False
        self._time = Fraction(0)  # of the last frame that was read
        with open_input(path) as file:
            size = size_of(file)
            self._missing = missing(file, size, declared_end(file, size))
            self._edits = edit_lists(file, 0, size)
        with library_errors(path, self._refusal), opened(path) as container:
            try:
                stream = chosen_stream(container)
                self._track, self._base = stream.id, time_base_of(stream)
                self._rates = _rates(stream)
                if message := size_error(stream.height or 1, stream.width or 1, f" in {self._name}"):
                    raise MediaError(message)
                sized = stream.width and stream.height
                with library_errors(path, self._empty if sized else self._unsized):
                    frame, self._first = next(frames_of(container, stream), (None, 0))
                if frame is None:
                    raise MediaError(f"expected a clip of one frame or more, got {self._name}, which holds no frames")
                self._size = frame.width, frame.height
                self._orientation = _orientation(frame)
                self._info = self._read_info(container, stream, frame)
            except NoVideoError:
                raise MediaError(self._no_video(bool(container.streams.audio))) from None

    def __repr__(self) -> str:
        info = self._info
        rate = "variable rate" if info.rate is None else f"{float(info.rate):g} frames per second"
        return f"<VideoReader {self._name}: {info.format} ({info.codec}), {info.width} × {info.height}, {rate}>"

    @property
    def info(self) -> VideoInfo:
        """Properties of the file, from its header and first frame."""
        return self._info

    @property
    def fraction(self) -> float | None:
        """How much of the clip is read, 0 to 1; None if its length is not known."""
        return min(1.0, float(self._time / self._info.duration)) if self._info.duration else None

    def counted(self) -> VideoInfo:
        """The properties with the number of frames, their rate or times, and the duration.

        All packets of the file are read, none is decoded. Frames that cannot be decoded are counted too.

        Raises:
            MediaError: for a container that is damaged.
        """
        self._check_open()
        ends = dict(self._until_damage(self._packets(), noted=False))  # reading the frames finds it, too
        stamps, end = sorted(ends), max(ends.values(), default=0)
        if not stamps:
            return replace(self._info, frames=0)
        rate = constant_rate(stamps, self._base, self._rates)
        times = None if rate else tuple((stamp - stamps[0]) * self._base for stamp in stamps)
        last = (stamps[-1] - stamps[0]) * self._base
        if rate is not None:
            duration = len(stamps) / rate
        elif end > stamps[-1]:
            duration = (end - stamps[0]) * self._base
        else:
            duration = last + (last / (len(stamps) - 1) if last else 0)
        return replace(self._info, frames=len(stamps), rate=rate, times=times, duration=duration)

    def frames(self, start: Fraction | float | None = None, stop: Fraction | float | None = None) -> Iterator[Frame]:
        """Iterate over the frames, one in memory at a time.

        Frames from a time on are the same, bit for bit, as when all before them are read too.

        Args:
            start: seconds after the first frame; the first frame that is read has this time or a later one.
            stop: seconds after the first frame; frames with this time or a later one are not read.

        Raises:
            MediaError: after the frames before the place, for damage, a file that ends before the end that its header
                declares, and frames that change their size; the message names the place.
            InputError: for times below 0 or that are no numbers, and if the file is closed.
        """
        self._check_open()
        begin, end = (None if time is None else _seconds(time) for time in (start, stop))
        return self._until_damage(self._frames(begin, end))

    def sound(self) -> Sound | None:
        """The sound track; None if there is none, or none is wanted. Its blocks are read when they are iterated over.

        Raises:
            MediaError: as audio.AudioReader does, and for a file that is cut.
        """
        self._check_open()
        if not self._info.sound or not self._sound:
            return None
        if self._missing and not self._recover:
            raise MediaError(self._cut(""))
        with library_errors(self._path, self._refusal):
            found = next(self._until_damage(self._open_sound()), None)
        if found is None or not self._recover:
            return found
        return replace(found, blocks=self._until_damage(found.blocks))

    def close(self) -> None:
        """Close the file. Closing it again has no effect."""
        self._closed = True

    def _open_sound(self) -> Iterator[Sound]:
        yield sound_of(self._path, self._edits, self._info.start, cut=self._recover)

    def _packets(self) -> Iterator[tuple[int, int]]:
        """The time stamps of the begin and end of the packets from the first frame on."""
        with library_errors(self._path, partial(self._damage, self._time)), opened(self._path) as container:
            stream = chosen_stream(container)
            for packet in container.demux(stream):
                stamp = packet_stamp(container, packet)
                if stamp is not None and stamp >= self._first:
                    yield stamp, stamp + (packet.duration or 0)

    def _until_damage(self, items: Iterable[T], *, noted: bool = True) -> Iterator[T]:
        """The items before an error, which is noted, where damaged files are recovered; else the error is raised."""
        try:
            yield from items
        except MediaError as error:
            if not self._recover:
                raise
            if noted:
                self.damage.append(str(error))

    def _frames(self, start: Fraction | None, stop: Fraction | None) -> Iterator[Frame]:
        since = None if not start else self._first + ceil(start / self._base)
        to_rgb = ToRgb()
        count, time = 0, Fraction(0)
        with library_errors(self._path, lambda reason: self._damage(time, reason)):
            for frame, stamp in decoded(self._path, since):
                self._check_open()
                if stop is not None and (stamp - self._first) * self._base >= stop:
                    return
                now, turned = (frame.width, frame.height), _orientation(frame)
                if now != self._size or turned != self._orientation:
                    raise MediaError(self._changed(now, (stamp - self._first) * self._base))
                time = (stamp - self._first) * self._base
                yield Frame(self._orientation.apply(to_rgb(frame)), time)
                count += 1
                self._time = time
        if self._missing:
            raise MediaError(self._cut(f" {_place(time)}"))

    def _read_info(self, container: "InputContainer", stream: "VideoStream", frame: "VideoFrame") -> VideoInfo:
        with library_errors(self._path, self._unsupported):
            colours = colours_of(frame)
        turn = self._orientation
        aspect = fraction_of(stream.sample_aspect_ratio) or Fraction(1)
        if turn.transposed:
            aspect = 1 / aspect
        interlaced = bool(frame.interlaced_frame)
        alpha = colours.alpha or stream.metadata.get("alpha_mode") == "1"
        notes = list(colours.notes)
        if alpha and not colours.alpha:
            notes.append("its transparency is dropped, and transparent pixels get the colours that are stored for them")
        if abs(aspect - 1) > _SQUARE:
            notes.append(f"its pixels are {aspect.numerator}:{aspect.denominator}, not square; they are kept unscaled")
        if interlaced:
            notes.append("it is interlaced; the two fields of a frame are kept in one picture")
        if not turn.known:
            notes.append("it is to be turned by an angle that is no multiple of 90°; it is left as it is stored")
        if len(video_streams(container)) > 1:
            notes.append(f"it has {len(video_streams(container))} video tracks; only the first is read")
        if len(container.streams.audio) > 1:
            notes.append(f"it has {len(container.streams.audio)} sound tracks; only the first is read")
        if container.streams.subtitles:
            notes.append("its subtitles are left out")
        if self._missing:
            notes.append(f"it is cut: expected {self._missing[0]} bytes by its header, got {self._missing[1]}")
        height, width = (frame.width, frame.height) if turn.transposed else (frame.height, frame.width)
        length = stream.duration * self._base if stream.duration else None
        if length is None and container.duration:
            length = Fraction(container.duration, 1_000_000)  # of microseconds
        return VideoInfo(
            height=height,
            width=width,
            frames=None,
            rate=next((rate for rate in self._rates if rate), None),
            times=None,
            start=self._begin(container.format.name),
            duration=length,
            format=container.format.name,
            codec=stream.codec_context.codec.canonical_name,
            pixel_format=frame.format.name,
            bits=colours.bits,
            matrix=colours.matrix,
            matrix_stated=colours.stated,
            full_range=colours.full_range,
            rotation=turn.rotation,
            mirrored=turn.mirrored,
            pixel_aspect=aspect,
            interlaced=interlaced,
            alpha=alpha,
            sound=bool(container.streams.audio),
            sound_format=_sound_format(container),
            notes=tuple(notes),
        )

    def _begin(self, format: str) -> Fraction:
        """The time of the first frame; FFmpeg rounds that of an edit list of an MP4 to the unit of the track."""
        stamp = self._first * self._base
        edits = self._edits.get(self._track) if format == MP4 else None
        return edits.delay if edits and abs(edits.delay - stamp) <= self._base else stamp

    def _check_open(self) -> None:
        if self._closed:
            raise InputError(f"expected an open file, got {self._name}, which is closed; open it again")

    def _refusal(self, reason: str) -> str:
        return (
            f"expected a video (MP4, MOV, WebM, Matroska, AVI, MPEG, Ogg), got {self._name}, "
            f"which cannot be decoded (FFmpeg: {reason!r}); give another file"
        )

    def _no_video(self, sound: bool) -> str:
        return f"expected a video, got {self._name}, which has " + (
            "sound only; encode it as audio" if sound else "no video track; give another file"
        )

    def _empty(self, reason: str) -> str:
        return f"{self._name} is damaged before its first frame ({reason}); {ADVICE}"

    def _unsized(self, reason: str) -> str:
        return (
            f"expected frames of 1 to {MAX_PIXELS} pixels, got none or another size in {self._name}, which cannot be "
            f"decoded ({reason}); {ADVICE}"
        )

    def _unsupported(self, reason: str) -> str:
        return f"expected colours in RGB or of a usual matrix, got {reason} in {self._name}; convert it with ffmpeg"

    def _cut(self, place: str) -> str:
        assert self._missing is not None
        end, size = self._missing
        return f"{self._name} is cut{place}: expected {end} bytes by its header, got {size}; {ADVICE}"

    def _damage(self, time: Fraction, reason: str) -> str:
        return f"{self._name} is damaged or cut somewhere {_place(time)} ({reason}); {ADVICE}"

    def _changed(self, size: tuple[int, int], time: Fraction) -> str:
        (width, height), (now, rows) = self._size, size
        change = (
            f"from {width} × {height} to {now} × {rows}"
            if size != self._size
            else "the way in which its frames are turned"
        )
        return f"{self._name} changes {change} at {float(time):.2f} s; cut it there into clips"


def _orientation(frame: "VideoFrame") -> Orientation:
    """The orientation of a frame."""
    from av.sidedata.sidedata import Type

    side_data: Any = frame.side_data  # a mapping from Type
    found = side_data.get(Type.DISPLAYMATRIX)
    return orientation_of(None if found is None else bytes(found))


def _sound_format(container: "InputContainer") -> str:
    """What the header says of the first sound track."""
    context = container.streams.audio[0].codec_context if container.streams.audio else None
    if not context:
        return ""
    return f"{context.codec.canonical_name}, {context.sample_rate} Hz, {channels_text(context.layout.nb_channels)}"


def _rates(stream: "VideoStream") -> list[Fraction | None]:
    """The frame rates that the header states, the most likely first."""
    return [fraction_of(getattr(stream, name, None)) for name in ("guessed_rate", "average_rate", "base_rate")]


def _seconds(time: Fraction | float) -> Fraction:
    """A time as a fraction, a float to the nanosecond: 0.4 is 2 / 5. Raises InputError for no number from 0 on."""
    if isinstance(time, bool) or not isinstance(time, int | float | Fraction) or not 0 <= time < 2**48:
        raise InputError(f"expected a time in seconds, 0 or more, got {shortened(time)}")
    return Fraction(time).limit_denominator(_NANOSECONDS) if isinstance(time, float) else Fraction(time)


def _place(time: Fraction) -> str:
    return f"after {float(time):.2f} s"
