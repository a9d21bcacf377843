"""Sound by FFmpeg: MP3, AAC, and the first sound track of MP4, Matroska, WebM and the like."""

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

# Formats that hold the sound themselves. FFmpeg also knows playlists, which would have it open other files and hosts.
_DEMUXERS = "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dts,eac3,flac,flv,matroska,mov,mp3,mpeg,mpegts,ogg,tak,tta,w64,wav,wv"
_HALF_RANGE = {"u1": 2.0**7, "i2": 2.0**15, "i4": 2.0**31, "i8": 2.0**63}  # of integer samples, by kind and width
_RESYNC = {"mp3", "aac"}  # frames without a container: bytes after the last frame are junk, not sound that was lost
_REAL_CUT = 16_384  # samples; an edit list that hides more than this does not just hide the padding of an encoder


class NoSoundError(Exception):
    """FFmpeg reads the file, and nothing in it is sound."""


class BrokenSoundError(Exception):
    """The sound cannot be decoded to its end; the message says why."""


class PyavSource:
    """Decoded samples of a file, in order.

    What encoders add in front and behind is removed where the container tells how much: LAME headers of MP3, edit lists
    and durations of MP4, pre-skip and discard padding of Opus.

    `format` is FFmpeg's name for the container where it is known: of a short MP3 it guesses wrong. `counted` says that
    the header of an MP3 counts its frames; else only decoding tells the length and `samples` is None.

    Raises av.FFmpegError for what FFmpeg cannot open, NoSoundError and BrokenSoundError.
    """

    def __init__(self, path: Source, *, format: str | None, counted: bool) -> None:
        self._container, edit_end = _open_edited(path, format)
        self._first_time = self._last_time = 0  # of the packets, in the stream's time base
        try:
            if not self._container.streams.audio:
                raise NoSoundError
            self._stream = self._container.streams.audio[0]
            if not self._stream.codec_context:
                raise BrokenSoundError("it has no decoder for this codec")
            frames = self._frames()
            first = next(frames, None)
        except BaseException:
            self._container.close()
            raise
        # The decoder knows better than the header: HE-AAC states half its rate there.
        described = first or self._stream.codec_context
        self.sample_rate: int = described.sample_rate
        self.channels: int = described.layout.nb_channels
        self.format: str = self._container.format.name
        self.codec: str = self._stream.codec_context.codec.canonical_name
        self.samples: int | None = None if first else 0
        if counted and self._stream.duration and self._stream.time_base:
            length = self._stream.duration * self._stream.time_base * self.sample_rate
            self.samples = int(length) if length.denominator == 1 else None
        self._edit_end: int | None = None
        if edit_end is not None and self._stream.duration:
            # The priming in front has negative time. An end that is just rounded, to 1/600 s or finer, is no cut.
            padding = self._stream.duration + min(0, self._first_time) - edit_end
            self._edit_end = None if 0 < padding <= self.sample_rate / 600 + 1 else edit_end
        self._left = self.samples
        self._decoded = self._trimmed(first, frames) if first else iter(())
        self._waiting: deque[NDArray[np.float32]] = deque()

    def read(self, samples: int) -> NDArray[np.float32]:
        """The next samples (C, n), n < `samples` only at the end. Integers scale to [-1, 1), floats stay."""
        have = sum(piece.shape[1] for piece in self._waiting)
        while have < samples and (piece := next(self._decoded, None)) is not None:
            if self._left is not None:  # what FFmpeg leaves where the padding is longer than a frame
                piece = piece[:, : self._left]
                self._left -= piece.shape[1]
            self._waiting.append(piece)
            have += piece.shape[1]
        block = np.empty((self.channels, 0), np.float32)
        if self._waiting:
            block = np.concatenate(self._waiting, axis=1)
            self._waiting.clear()
            if block.shape[1] > samples:
                self._waiting.append(block[:, samples:])
        return block[:, :samples]

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _frames(self) -> Iterator["AudioFrame"]:
        """Frames as they are decoded. Damage is only called so when sound follows it, or should."""
        from av import FFmpegError

        failure: FFmpegError | None = None
        follows = begun = False
        try:
            for packet in self._container.demux(self._stream):
                if packet.pts is not None:
                    self._first_time = self._first_time if begun else packet.pts
                    self._last_time = packet.pts + (packet.duration or 0)
                    begun = True
                try:
                    frames = packet.decode()
                except FFmpegError as error:
                    failure = failure or error
                    continue
                follows = bool(failure and frames)
                if follows:
                    break
                yield from frames
        except FFmpegError as error:  # the demuxer's: the container itself is damaged
            raise BrokenSoundError(error.strerror) from error
        if failure and (follows or self._container.format.name not in _RESYNC):
            raise BrokenSoundError(failure.strerror) from failure

    def _trimmed(self, frame: "AudioFrame", frames: Iterator["AudioFrame"]) -> Iterator[NDArray[np.float32]]:
        """Samples (C, n) of each frame, without those that MP4 says are padding."""
        for following in frames:
            if (following.sample_rate, following.layout.nb_channels) != (self.sample_rate, self.channels):
                raise BrokenSoundError(
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
        # Only MP4 counts time in samples; elsewhere a tick is a rounded millisecond, no place to cut at.
        if "mov" in self.format and end is not None and frame.pts is not None and tick and tick.denominator == 1:
            keep = min(keep, max(0, (end - frame.pts) * int(tick)))
        raw = frame.to_ndarray()
        if not frame.format.is_planar:
            raw = raw.reshape(-1, self.channels).T
        return _scaled(raw[:, :keep])


def _scaled(raw: NDArray[np.generic]) -> NDArray[np.float32]:
    half = _HALF_RANGE.get(raw.dtype.str[1:])
    if half is None:
        with np.errstate(over="ignore"):  # a float64 too large for float32 becomes infinity, which the reader names
            return np.ascontiguousarray(raw, np.float32)
    middle = half if raw.dtype.kind == "u" else 0.0
    return np.ascontiguousarray((raw.astype(np.float64) - middle) / half, np.float32)


def _open(path: Source, format: str | None, **options: str) -> "InputContainer":
    import av  # here: FFmpeg takes a tenth of a second to load, and most files do not need it

    # By path, since errors and Ctrl-C inside Python's reading of a file would be printed and lost; with the protocol
    # in front, since FFmpeg takes "http://…" or "concat:a|b" for one. Tags in other encodings than UTF-8 are common.
    return av.open(
        open_input(path) if isinstance(path, MemoryFile) else "file:" + os.path.abspath(path),
        "r",
        format=format,
        options={"format_whitelist": _DEMUXERS, "protocol_whitelist": "file", **options},
        metadata_errors="replace",
    )


def _open_edited(path: Source, format: str | None) -> tuple["InputContainer", int | None]:
    """The container, and where an MP4's edit list ends the sound, in the stream's time base.

    An edit list counts in ticks of the whole film, often milliseconds. FFmpeg drops the last packet when that rounding
    leaves it outside; read without its edits, the packets' own durations give the end to the sample.
    """
    edited = _open(path, format)
    if "mov" not in edited.format.name or not edited.streams.audio:
        return edited, None
    end = edited.streams.audio[0].duration
    edited.close()
    whole = _open(path, format, advanced_editlist="0")
    length = whole.streams.audio[0].duration
    if end is None or length is None or length - end <= _REAL_CUT:
        return whole, end
    whole.close()
    return _open(path, format), end
