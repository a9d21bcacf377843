"""Decodes audio with FFmpeg (PyAV): MP3, AAC, and the first audio track of MP4, Matroska, WebM and others."""

import os
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from narrows.media.files import MemoryFile, Source, open_input

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.container import InputContainer

# Formats that contain the audio. FFmpeg also reads playlists, which would make it open other files and hosts.
_DEMUXERS = "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dts,eac3,flac,flv,matroska,mov,mp3,mpeg,mpegts,ogg,tak,tta,w64,wav,wv"
_FULL_SCALE = {"u1": 2.0**7, "i2": 2.0**15, "i4": 2.0**31, "i8": 2.0**63}  # of integer samples, by NumPy type
_BARE_FORMATS = {"mp3", "aac"}  # no container: bytes after the last frame are tags or junk, not damaged audio
_MAX_PADDING = 16_384  # samples; an edit list that removes more at the end trims audio, not just encoder padding


class NoAudioError(Exception):
    """FFmpeg can read the file, but it has no audio track."""


class AudioDecodeError(Exception):
    """The audio cannot be decoded to its end; the message says why."""


class PyavDecoder:
    """Decodes the samples of a file in order.

    Encoder delay and padding are removed where the container states them: LAME headers of MP3, edit lists and
    durations of MP4, pre-skip and discard padding of Opus.

    Args:
        path: the file.
        format: FFmpeg's name of the container; None lets FFmpeg detect it, which fails for a short MP3.
        counted: whether the header of an MP3 counts its frames. Else the length is only known after decoding and
            `samples` is None.

    Raises:
        av.FFmpegError: for a file that FFmpeg cannot open.
        NoAudioError: for a file without an audio track.
        AudioDecodeError: for audio that cannot be decoded.
    """

    def __init__(self, path: Source, *, format: str | None, counted: bool) -> None:
        self._container, edit_end = _open_with_edits(path, format)
        self._first_time = self._last_time = 0  # of the packets, in units of the stream's time base
        try:
            if not self._container.streams.audio:
                raise NoAudioError
            self._stream = self._container.streams.audio[0]
            if not self._stream.codec_context:
                raise AudioDecodeError("it has no decoder for this codec")
            frames = self._frames()
            first = next(frames, None)
        except BaseException:
            self._container.close()
            raise
        # From a decoded frame where there is one: the header of HE-AAC states half the sample rate.
        decoded = first or self._stream.codec_context
        self.sample_rate: int = decoded.sample_rate
        self.channels: int = decoded.layout.nb_channels
        self.format: str = self._container.format.name
        self.codec: str = self._stream.codec_context.codec.canonical_name
        self.samples: int | None = None if first else 0
        if counted and self._stream.duration and self._stream.time_base:
            length = self._stream.duration * self._stream.time_base * self.sample_rate
            self.samples = int(length) if length.denominator == 1 else None
        self._edit_end: int | None = None
        if edit_end is not None and self._stream.duration:
            # Encoder delay has negative timestamps. An end that is only rounded, to 1/600 s or finer, cuts nothing.
            padding = self._stream.duration + min(0, self._first_time) - edit_end
            self._edit_end = None if 0 < padding <= self.sample_rate / 600 + 1 else edit_end
        self._remaining = self.samples
        self._decoded = self._trimmed(first, frames) if first else iter(())
        self._buffer: deque[NDArray[np.float32]] = deque()

    def read(self, samples: int) -> NDArray[np.float32]:
        """The next samples (C, n), n < `samples` only at the end. Integers are scaled to [-1, 1), floats are kept."""
        buffered = sum(part.shape[1] for part in self._buffer)
        while buffered < samples and (part := next(self._decoded, None)) is not None:
            if self._remaining is not None:  # FFmpeg does not remove padding that is longer than a frame
                part = part[:, : self._remaining]
                self._remaining -= part.shape[1]
            self._buffer.append(part)
            buffered += part.shape[1]
        block = np.empty((self.channels, 0), np.float32)
        if self._buffer:
            block = np.concatenate(self._buffer, axis=1)
            self._buffer.clear()
            if block.shape[1] > samples:
                self._buffer.append(block[:, samples:])
        return block[:, :samples]

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _frames(self) -> Iterator["AudioFrame"]:
        """Decoded frames. Raises AudioDecodeError for a packet that fails, unless it is junk after the audio."""
        from av import FFmpegError

        failure: FFmpegError | None = None
        audio_follows = started = False
        try:
            for packet in self._container.demux(self._stream):
                if packet.pts is not None:
                    self._first_time = self._first_time if started else packet.pts
                    self._last_time = packet.pts + (packet.duration or 0)
                    started = True
                try:
                    frames = packet.decode()
                except FFmpegError as error:
                    failure = failure or error
                    continue
                audio_follows = bool(failure and frames)
                if audio_follows:
                    break
                yield from frames
        except FFmpegError as error:  # of the demuxer: the container is damaged
            raise AudioDecodeError(error.strerror) from error
        if failure and (audio_follows or self._container.format.name not in _BARE_FORMATS):
            raise AudioDecodeError(failure.strerror) from failure

    def _trimmed(self, frame: "AudioFrame", frames: Iterator["AudioFrame"]) -> Iterator[NDArray[np.float32]]:
        """Samples (C, n) of each frame, without the padding that an MP4 states."""
        for following in frames:
            if (following.sample_rate, following.layout.nb_channels) != (self.sample_rate, self.channels):
                raise AudioDecodeError(
                    f"it changes from {self.channels} channels at {self.sample_rate} Hz "
                    f"to {following.layout.nb_channels} at {following.sample_rate} Hz"
                )
            yield self._samples(frame, self._edit_end)
            frame = following
        yield self._samples(frame, self._last_time if self._edit_end is None else min(self._edit_end, self._last_time))

    def _samples(self, frame: "AudioFrame", end: int | None) -> NDArray[np.float32]:
        """A frame as (C, n) float32, cut at `end` (in the stream's time base)."""
        keep = frame.samples
        tick = self._stream.time_base * self.sample_rate if self._stream.time_base else None
        # Only MP4 has timestamps in samples. Others are rounded to milliseconds, too coarse to cut at.
        if "mov" in self.format and end is not None and frame.pts is not None and tick and tick.denominator == 1:
            keep = min(keep, max(0, (end - frame.pts) * int(tick)))
        raw = frame.to_ndarray()
        if not frame.format.is_planar:
            raw = raw.reshape(-1, self.channels).T
        return _scaled(raw[:, :keep])


def _scaled(raw: NDArray[np.generic]) -> NDArray[np.float32]:
    """Samples as float32, integers scaled to [-1, 1)."""
    full_scale = _FULL_SCALE.get(raw.dtype.str[1:])
    if full_scale is None:
        with np.errstate(over="ignore"):  # a float64 too large for float32 becomes infinity, which the reader reports
            return np.ascontiguousarray(raw, np.float32)
    zero = full_scale if raw.dtype.kind == "u" else 0.0
    return np.ascontiguousarray((raw.astype(np.float64) - zero) / full_scale, np.float32)


def _open(path: Source, format: str | None, **options: str) -> "InputContainer":
    """The container of a file; `options` are FFmpeg's."""
    import av  # not at the top: loading FFmpeg takes 0.1 s, and most files do not need it

    # By path: an error or Ctrl-C in a Python file object that FFmpeg reads from would be printed and lost. With
    # "file:" in front: FFmpeg would take names such as "http://…" or "concat:a|b" for protocols.
    # metadata_errors: tags in encodings other than UTF-8 are common.
    return av.open(
        open_input(path) if isinstance(path, MemoryFile) else "file:" + os.path.abspath(path),
        "r",
        format=format,
        options={"format_whitelist": _DEMUXERS, "protocol_whitelist": "file", **options},
        metadata_errors="replace",
    )


def _open_with_edits(path: Source, format: str | None) -> tuple["InputContainer", int | None]:
    """The container, and the end of the audio by the edit list of an MP4, in units of the stream's time base.

    Edit lists use the time base of the whole file, often milliseconds. FFmpeg drops the last packet if it lies outside
    because of that rounding. Read without edit list, the durations of the packets give the end to the sample.
    """
    with_edits = _open(path, format)
    if "mov" not in with_edits.format.name or not with_edits.streams.audio:
        return with_edits, None
    end = with_edits.streams.audio[0].duration
    with_edits.close()
    without_edits = _open(path, format, advanced_editlist="0")
    length = without_edits.streams.audio[0].duration
    if end is None or length is None or length - end <= _MAX_PADDING:
        return without_edits, end
    without_edits.close()
    return _open(path, format), end
