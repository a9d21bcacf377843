"""Reads audio files block by block, with memory that does not depend on their length.

path ─▶ declared end ≤ size? ─▶ libsndfile, else FFmpeg ─▶ rate, channels? ─▶ blocks ─▶ finite? complete? ─▶ (C, n)
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray

from narrows.errors import InputError, MediaError
from narrows.media.audio_limits import channels_error, finite_error, sample_rate_error
from narrows.media.declared_end import declared_end, mpeg_format, ogg_streams
from narrows.media.files import Source, open_input, quoted
from narrows.media.medium import Reader
from narrows.media.pyav_decoder import AudioDecodeError, NoAudioError, PyavDecoder
from narrows.media.soundfile_decoder import SoundfileDecoder

_ADVICE = "get the whole file again, or convert the part that is there with: ffmpeg -i FILE OTHER.wav"


class _Decoder(Protocol):
    """SoundfileDecoder or PyavDecoder."""

    sample_rate: int
    channels: int
    samples: int | None
    format: str
    codec: str

    def read(self, samples: int) -> NDArray[np.float32]: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class AudioInfo:
    """Properties of an audio file.

    Attributes:
        sample_rate: in Hz.
        channels: number of channels.
        samples: per channel; None if it is only known after decoding the file.
        format: of the file, as libsndfile or FFmpeg names it: "wav", "flac", "mov,mp4,m4a,..."
        codec: of the audio: "pcm_16", "vorbis", "aac", ...
    """

    sample_rate: int
    channels: int
    samples: int | None
    format: str
    codec: str

    @property
    def seconds(self) -> float:
        """The duration. Raises InputError if the number of samples is not known."""
        if self.samples is None:
            raise InputError("expected a known number of samples, got None; use probe(), which decodes the file")
        return self.samples / self.sample_rate

    @property
    def warnings(self) -> tuple[str, ...]:
        """None: all of the audio is read."""
        return ()


class AudioReader(Reader):
    """An open audio file.

        with AudioReader("talk.flac") as reader:
            for block in reader.blocks(reader.sample_rate):  # (C, n), a second each
                ...

    The format is recognised by the content of the file, not by its suffix. Of several audio tracks the first is read.
    A writer to a pipe leaves a placeholder for the length; such a file is read to its end.

    Args:
        path: the file.

    Attributes:
        sample_rate: in Hz.
        channels: number of channels.
        samples: per channel; None if it is only known after decoding the file.
        format, codec: as in AudioInfo.

    Raises:
        MediaError: for a file that is missing, a folder, empty, cut short, without samples or in no format that can be
            decoded, for a sample rate outside 1 to 384 kHz and for more than 64 channels.
    """

    def __init__(self, path: Source) -> None:
        self._name = quoted(path)
        self._position = 0  # samples read
        self._file = open_input(path)
        try:
            self._size = _size(self._file)
            self._decoder = _open_decoder(self._file, path)
        except BaseException:
            self._file.close()
            raise
        self.sample_rate = self._decoder.sample_rate
        self.channels = self._decoder.channels
        self.samples = self._decoder.samples
        self.format = self._decoder.format
        self.codec = self._decoder.codec
        where = f" in {self._name}"
        message = sample_rate_error(self.sample_rate, where) or channels_error(self.channels, where)
        if self.samples == 0:
            message = _no_samples(self._name)
        if message:
            raise self._close_with(message)

    @property
    def info(self) -> AudioInfo:
        """Properties of the file, from its header."""
        return AudioInfo(self.sample_rate, self.channels, self.samples, self.format, self.codec)

    def read(self, samples: int) -> NDArray[np.float32]:
        """The next samples (C, n), n < `samples` only at the end.

        Integers of b bits are divided by 2^(b - 1), so they are in [-1, 1). Floats are unchanged, also above 1.

        Raises:
            MediaError: for NaN, infinity, damage and a file that ends before the end that its header declares; the
                message names the place.
            InputError: for `samples` below 1, and if the file is closed.
        """
        if samples < 1:
            raise InputError(f"expected a block of 1 sample or more, got samples={samples}")
        if self._file.closed:
            raise InputError(f"expected an open file, got {self._name}, which is closed; open it again")
        try:
            block = self._decoder.read(samples)
        except (soundfile.LibsndfileError, AudioDecodeError) as error:
            reason = error.error_string if isinstance(error, soundfile.LibsndfileError) else str(error)
            raise self._close_with(
                f"{self._name} is damaged or cut somewhere {self._place()}{_in_brackets(reason)}; {_ADVICE}"
            ) from error
        message = finite_error(block, self._position, f" in {self._name}")
        if message:
            raise self._close_with(message)
        self._position += block.shape[1]
        if block.shape[1] < samples:
            self._check_end()
        return block

    def blocks(self, samples: int) -> Iterator[NDArray[np.float32]]:
        """The rest of the file in blocks (C, `samples`); the last may be shorter. Raises what `read` raises."""
        while True:
            block = self.read(samples)
            if block.shape[1]:
                yield block
            if block.shape[1] < samples:
                return

    def close(self) -> None:
        """Close the file. Closing it again has no effect."""
        self._decoder.close()
        self._file.close()

    def _check_end(self) -> None:
        """Raise MediaError if samples are missing at the end: decoders report no error where the bytes end."""
        if _size(self._file) < self._size:
            raise self._close_with(
                f"{self._name} was cut while it was read, {self._place()}; wait until it is completely written"
            )
        if self.samples is not None and self._position < self.samples:
            raise self._close_with(f"{self._name} is cut {self._place()} of {self.samples}; {_ADVICE}")
        if self._position == 0:
            raise self._close_with(_no_samples(self._name))

    def _close_with(self, message: str) -> MediaError:
        """The error with this message. Closes the file: a further `read` would report the end of the audio instead."""
        self.close()
        return MediaError(message)

    def _place(self) -> str:
        return f"after {self._position} samples ({self._position / self.sample_rate:.2f} s)"


def _open_decoder(file: BinaryIO, path: Source) -> _Decoder:
    """A decoder for the file. Raises MediaError if there is none, or the file ends before its declared end."""
    name, size = quoted(path), _size(file)
    end = declared_end(file, size)
    if end is not None and end > size:
        raise MediaError(f"{name} is cut: expected {end} bytes by its header, got {size}; {_ADVICE}")
    reasons, empty = [], False
    # libsndfile takes an MP3 without a Xing header for shorter than it is, and prints messages about a damaged one; of
    # several Ogg streams it reads only the first. FFmpeg handles these.
    mpeg = mpeg_format(file)
    if mpeg is None and ogg_streams(file) < 2:
        try:
            decoder = SoundfileDecoder(file)
        except soundfile.LibsndfileError as error:
            reasons.append(f"libsndfile: {error.error_string.rstrip('. ').lower()!r}")
        else:
            empty = decoder.samples == 0
            # A writer to a pipe may leave a length of 0; it is only believed if the rest of the header agrees.
            if not (empty and end is None) and "mpeg" not in decoder.codec:
                return decoder
            decoder.close()
    from av import FFmpegError

    # A Xing header counts the frames of its MP3, unless another MP3 was appended or most of the file is something else.
    counted = mpeg == "mp3" and end is not None and mpeg_format(file, end) is None and size - end <= size // 32
    try:
        return PyavDecoder(path, format=mpeg, counted=counted)
    except NoAudioError as error:
        raise MediaError(f"{name} has no audio track; give an audio file, or a video with audio") from error
    except (FFmpegError, AudioDecodeError) as error:
        if empty:
            raise MediaError(_no_samples(name)) from error
        reasons.append(f"FFmpeg: {(getattr(error, 'strerror', None) or str(error)).lower()!r}")
        raise MediaError(
            f"expected audio (WAV, FLAC, Ogg, Opus, MP3, AIFF, M4A, or a video with audio), got {name}, "
            f"which cannot be decoded ({', '.join(reasons)}); give another file"
        ) from error


def _no_samples(name: str) -> str:
    return f"expected a file of one sample or more, got {name}, which holds no samples; give another file"


def _size(file: BinaryIO) -> int:
    """The size in bytes. The position in the file does not change."""
    position = file.tell()
    size = file.seek(0, os.SEEK_END)
    file.seek(position)
    return size


def _in_brackets(reason: str) -> str:
    return f" ({reason[0].lower()}{reason[1:].rstrip('. ')})" if reason else ""
