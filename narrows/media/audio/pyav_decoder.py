"""Decodes audio with FFmpeg (PyAV): MP3, AAC, and the first audio track of MP4, Matroska, WebM and others.

packets ─▶ frames ─▶ samples at their places in the track ─▶ the spans that are presented ─▶ blocks (C, n)
"""

import os
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from narrows.media.audio.channel_order import wav_order_of_names
from narrows.media.audio.edit_lists import EditList
from narrows.media.files import MemoryFile, StoredFile, open_input

if TYPE_CHECKING:
    from av.audio.codeccontext import AudioCodecContext
    from av.audio.frame import AudioFrame
    from av.container import InputContainer

# Formats that contain the audio. FFmpeg also reads playlists, which would make it open other files and hosts.
_DEMUXERS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,iff,matroska,mov,mp3,mpeg,mpegts,ogg,tak,tta,"
    "w64,wav,wv"
)
_TYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}  # FFmpeg's to NumPy's
_FULL_SCALE = {"u1": 2.0**7, "i2": 2.0**15, "i4": 2.0**31, "i8": 2.0**63}  # of integer samples, by NumPy type
_BARE_FORMATS = {"mp3", "aac", "ac3", "eac3", "dts"}  # no container: bytes after the last frame are tags, not audio
_BROADCASTS = {"mpeg", "mpegts"}  # a part of a broadcast may begin in the middle of a packet
_MP4 = "mov,mp4,m4a,3gp,3g2,mj2"
_MATROSKA = "matroska,webm"
_EXACT_TIMES = (_MP4, "ogg")  # formats with times in samples; others round them to milliseconds, too coarse to cut at

# iTunes' tag of an AAC without an edit list, in hexadecimal: 0, encoder delay, padding, number of samples.
_ITUNES = re.compile(r" *[0-9A-F]+ ([0-9A-F]{8}) [0-9A-F]{8} ([0-9A-F]{16}) ")

_PREROLL = 0.1  # seconds that are decoded before a place in the middle, as frames depend on those before them

_Span = tuple[int, int | None]  # first sample, and the one after the last; None for the end of the track


class NoAudioError(Exception):
    """FFmpeg can read the file, but it has no audio track."""


class AudioDecodeError(Exception):
    """The audio cannot be decoded to its end; the message says why."""


class PyavDecoder:
    """Decodes the samples of a file in order.

    The samples are those that the container presents, without encoder delay and padding where it states them: edit
    lists of MP4 and MOV, LAME headers of MP3, pre-skip and discard padding of Opus, the codec delay of Matroska. A
    track that starts late, or has a gap between its timestamps, gives its samples one after another: time without
    samples is no part of the signal.

    Args:
        path: the file.
        format: FFmpeg's name of the container; None lets FFmpeg detect it, which fails for a short MP3.
        part: offsets of the begin and end of the audio, between tags; None for the whole file.
        samples: of an MP3 whose header counts them. Else the length is only known after decoding, and the attribute
            `samples` is None.
        edits: the edit lists of an MP4, by track.

    Attributes:
        late: seconds before the first sample of an MP4 or Matroska, which hold no samples.
        needed: whether the file begins at another time than 0, or has its channels in another order than a WAV, which
            libsndfile ignores.

    Raises:
        av.FFmpegError: for a file that FFmpeg cannot open.
        NoAudioError: for a file without an audio track.
        AudioDecodeError: for audio that cannot be decoded.
    """

    def __init__(
        self,
        path: StoredFile,
        *,
        format: str | None,
        part: tuple[int, int] | None,
        samples: int | None,
        edits: Mapping[int, EditList],
    ) -> None:
        self._container = _open(path, format, part)
        self._end: int | None = None  # of the packets so far, in units of the stream's time base
        try:
            if not self._container.streams.audio:
                raise NoAudioError
            self._stream = self._container.streams.audio[0]
            if not self._stream.codec_context:
                raise AudioDecodeError("it has no decoder for this codec")
            self._order = _take_channel_order(self._stream.codec_context)
            frames = self._frames()
            first = next(frames, None)
            # From a decoded frame where there is one: the header of HE-AAC states half the sample rate.
            decoded = first or self._stream.codec_context
            self.sample_rate: int = decoded.sample_rate
            self.channels: int = decoded.layout.nb_channels
            self.format: str = self._container.format.name
            self.codec: str = self._stream.codec_context.codec.canonical_name
            base = self._stream.time_base
            # PyAV 19 returns a type of its own. Samples per unit of the time base; 0 if it is not known.
            self._tick = Fraction(base.numerator, base.denominator) * self.sample_rate if base else Fraction(0)
            self.samples = samples
            self.expected_samples = samples
            if samples is None and (duration := self._stream.duration or 0) > 0:
                self.expected_samples = round(duration * self._tick)
            elif samples is None and (duration := self._container.duration or 0) > 0:
                self.expected_samples = duration * self.sample_rate // 1_000_000  # of microseconds
            self._decoded: Iterator[NDArray[np.float32]] = iter(())
            self._all: list[_Span] = []
            self._origin = 0  # time of the sample 0, in samples
            self._begun = False  # whether samples were read
            self._first = round((first.pts or 0) * self._tick) if first and self.format in _EXACT_TIMES else 0
            self.needed = self._first != 0 or self._order is not None
            edit_list = edits.get(self._stream.id) if self.format == _MP4 else None
            self.late = float(edit_list.delay) if edit_list else 0.0
            if self.format == _MATROSKA and self._stream.start_time:
                self.late = float(self._stream.start_time * self._tick / self.sample_rate)
            if first:
                self._all = self._spans(edit_list)
                # Time stamps of an MP3 or a broadcast do not begin at the first sample.
                self._origin = round((first.pts or 0) * self._tick) - self._first
                self._decoded = _presented(self._blocks(first, frames), self._first, self._all)
            self._buffer = deque([block] if (block := next(self._decoded, None)) is not None else [])
            if not self._buffer:
                self.samples = 0
        except BaseException:
            self._container.close()
            raise

    def read(self, samples: int) -> NDArray[np.float32]:
        """The next samples (C, n), n < `samples` only at the end. Integers are scaled to [-1, 1), floats are kept."""
        self._begun = True
        buffered = sum(part.shape[1] for part in self._buffer)
        while buffered < samples and (part := next(self._decoded, None)) is not None:
            self._buffer.append(part)
            buffered += part.shape[1]
        block = np.empty((self.channels, 0), np.float32)
        if self._buffer:
            block = np.concatenate(self._buffer, axis=1)
            self._buffer.clear()
            if block.shape[1] > samples:
                self._buffer.append(block[:, samples:])
        return block[:, :samples]

    def skip(self, samples: int) -> None:
        """Go forward to about the place; by seeking where the whole track is presented as one span."""
        if len(self._all) != 1 or not self._tick or self._begun:
            while samples > 0 and (read := self.read(min(samples, self.sample_rate)).shape[1]):
                samples -= read
            return
        self._begun = True
        begin, end = self._all[0]
        place = max(begin, self._first) + samples
        before = max(0, place + self._origin - round(_PREROLL * self.sample_rate))
        self._container.seek(int(before / self._tick), stream=self._stream)
        self._stream.codec_context.flush_buffers()
        frames = self._frames()
        first = next(frames, None)
        self._buffer.clear()
        self._decoded = iter(())
        if first is not None:
            start = place if first.pts is None else round(first.pts * self._tick) - self._origin
            self._decoded = _presented(self._blocks(first, frames), start, [(place, end)])

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _spans(self, edits: EditList | None) -> list[_Span]:
        """The spans of the track that are presented."""
        gapless = _ITUNES.match(str(self._container.metadata.get("iTunSMPB", "")))
        if edits is None and gapless and self.format == _MP4 and self._tick == 1:
            delay = int(gapless[1], 16)
            return [(delay, delay + int(gapless[2], 16))]
        if edits is None:
            # In an Ogg, samples before the time 0 are not presented. An MP4 of fragments may begin at any time.
            return [(0 if self.format == "ogg" else min(0, self._first), self.samples)]
        if not edits.in_order:
            raise AudioDecodeError("its edit list plays parts of it again or in another order")
        length = round(self._stream.duration * self._tick) if self._stream.duration else None
        # Durations of edits are rounded, often to milliseconds, those of the track are exact. An end that is only
        # rounded cuts nothing; one before it removes padding or trims the sound.
        tick = edits.tick * self.sample_rate
        rounding = ceil(tick) if tick > 1 else 0
        spans: list[_Span] = []
        for begin, end in edits.spans:
            stop = None if end is None else round(end * self.sample_rate)
            if stop is not None and length is not None and length - stop <= rounding:
                stop = max(length, 0)
            spans.append((round(begin * self.sample_rate), stop))
        return spans

    def _frames(self) -> Iterator["AudioFrame"]:
        """Decoded frames. Raises AudioDecodeError for a packet that fails, unless it is junk after the audio."""
        from av import FFmpegError

        failure: FFmpegError | None = None
        begun = audio_follows = False
        try:
            for packet in self._container.demux(self._stream):
                if packet.pts is not None:
                    self._end = packet.pts + (packet.duration or 0)
                try:
                    frames = packet.decode()
                except FFmpegError as error:
                    if begun or self._container.format.name not in _BROADCASTS:
                        failure = failure or error
                    continue
                begun = begun or bool(frames)
                audio_follows = bool(failure and frames)
                if audio_follows:
                    break
                yield from frames
        except FFmpegError as error:  # of the demuxer: the container is damaged
            raise AudioDecodeError(error.strerror) from error
        if failure and (audio_follows or self._container.format.name not in _BARE_FORMATS):
            raise AudioDecodeError(failure.strerror) from failure

    def _blocks(self, frame: "AudioFrame", frames: Iterator["AudioFrame"]) -> Iterator[NDArray[np.float32]]:
        """The samples (C, n) of each frame, the last one without the padding that an MP4 states."""
        for following in frames:
            if (following.sample_rate, following.layout.nb_channels) != (self.sample_rate, self.channels):
                raise AudioDecodeError(
                    f"it changes from {self.channels} channels at {self.sample_rate} Hz "
                    f"to {following.layout.nb_channels} at {following.sample_rate} Hz"
                )
            yield self._samples(frame)
            frame = following
        keep = None
        if self.format == _MP4 and self._end is not None and frame.pts is not None and self._tick.denominator == 1:
            keep = max(0, (self._end - frame.pts) * int(self._tick))
        yield self._samples(frame)[:, :keep]

    def _samples(self, frame: "AudioFrame") -> NDArray[np.float32]:
        """The samples (C, n) of a frame as float32, integers scaled to [-1, 1), channels in the order of a WAV."""
        from av.audio.plane import AudioPlane

        kind = _TYPES[frame.format.name.removesuffix("p")]
        # Not frame.to_ndarray(): it does not know all types, nor does frame.planes know its end from 8 channels on.
        count = frame.samples * (1 if frame.format.is_planar else self.channels)
        planes = [AudioPlane(frame, place) for place in range(self.channels if frame.format.is_planar else 1)]
        parts = [np.frombuffer(memoryview(plane), kind, count) for plane in planes]
        raw: NDArray[Any] = np.stack(parts) if frame.format.is_planar else parts[0].reshape(-1, self.channels).T
        # FFmpeg's decoders give the order of a WAV, unless only the container knows the order.
        return _scaled(raw[self._order] if self._order and frame.layout.name == _unordered(self.channels) else raw)


def _take_channel_order(context: "AudioCodecContext") -> list[int] | None:
    """The place of each channel of a WAV among the channels of a container; None if the order is the same or unknown.

    A list of channels is removed from the decoder: PyAV frees the memory of such a list twice, which ends the process.
    """
    layout = context.layout
    if "(" not in layout.name:  # "8 channels (FL+FR+...)" for a list, else "7.1" or "8 channels"
        return None
    context.layout = _unordered(layout.nb_channels)
    return wav_order_of_names([channel.name for channel in layout.channels])


def _unordered(channels: int) -> str:
    """FFmpeg's name of channels in an unknown order."""
    return f"{channels} channels"


def _presented(
    blocks: Iterator[NDArray[np.float32]], start: int, spans: Sequence[_Span]
) -> Iterator[NDArray[np.float32]]:
    """The parts of consecutive blocks (C, n), the first of which begins at sample `start`, that lie in the spans."""
    remaining = deque(spans)
    for block in blocks:
        end = start + block.shape[1]
        while remaining and remaining[0][0] < end:
            first, stop = remaining[0]
            part = block[:, max(0, first - start) : None if stop is None else max(0, stop - start)]
            if part.shape[1]:
                yield part
            if stop is None or stop > end:
                break
            remaining.popleft()
        if not remaining:
            return
        start = end


def _scaled(raw: NDArray[np.generic]) -> NDArray[np.float32]:
    """Samples as float32, integers scaled to [-1, 1)."""
    full_scale = _FULL_SCALE.get(raw.dtype.str[1:])
    if full_scale is None:
        with np.errstate(over="ignore"):  # a float64 too large for float32 becomes infinity, which the reader reports
            return np.ascontiguousarray(raw, np.float32)
    zero = full_scale if raw.dtype.kind == "u" else 0.0
    return np.ascontiguousarray((raw.astype(np.float64) - zero) / full_scale, np.float32)


def _open(path: StoredFile, format: str | None, part: tuple[int, int] | None) -> "InputContainer":
    """The container of a file."""
    import av  # not at the top: loading FFmpeg takes 0.1 s, and most files do not need it

    # By path: an error or Ctrl-C in a Python file object that FFmpeg reads from would be printed and lost. With
    # "file:" in front: FFmpeg would take names such as "http://…" or "concat:a|b" for protocols.
    if isinstance(path, MemoryFile):
        source: object = open_input(path if part is None else MemoryFile(path.name, path.data[slice(*part)]))
    else:
        subfile = "" if part is None else "subfile,,start,{},end,{},,:".format(*part)
        source = f"{subfile}file:{os.path.abspath(path)}"
    # PyAV before 19 reports tags in encodings other than UTF-8, which are common, unless it may replace characters.
    older: dict[str, Any] = {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "replace"}
    # ignore_editlist: FFmpeg obeys edit lists for some codecs only, and drops packets where their times are rounded.
    options = {"format_whitelist": _DEMUXERS, "protocol_whitelist": "file,subfile", "ignore_editlist": "1"}
    return av.open(source, "r", format=format, options=options, **older)
