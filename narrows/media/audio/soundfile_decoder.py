"""Decodes audio with libsndfile: WAV, FLAC, AIFF, Ogg, Opus, CAF and its other formats."""

import io
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from narrows.media.audio.channel_order import wav_order
from narrows.media.binary import bytes_at
from narrows.media.files import FilePart, size_of

_SKIPPED = 1 << 16  # samples that are decoded at once where it cannot seek
_UNKNOWN_LENGTH = 2**63 - 1  # what libsndfile returns for a FLAC whose header does not state its length


class _UnseekableFile(soundfile.SoundFile):  # type: ignore[misc]
    """A file that reports that it cannot seek.

    After every read, soundfile seeks to the current position of a seekable file. Near the end of an Opus file,
    libsndfile's seek goes to a wrong position, and the next samples are wrong.
    """

    def seekable(self) -> bool:
        return False


class SoundfileDecoder:
    """Decodes the samples of an open file in order.

    Args:
        file: open for reading.
        start, end: offsets of the audio, between tags; the whole file by default.

    Attributes:
        late: 0.0 seconds, as libsndfile knows no late starts.
        alone: whether libsndfile may decode the file without a look by FFmpeg. It ignores the time at which an Ogg
            begins, and the order of channels that AIFF and CAF state.

    Raises:
        soundfile.LibsndfileError: for a file that libsndfile cannot read.
    """

    def __init__(self, file: BinaryIO, start: int = 0, end: int | None = None) -> None:
        if end is None:
            end = size_of(file)
        head = bytes_at(file, start, 64)
        source: object = FilePart(file, start, end)
        if (start, end) == (0, size_of(file)):
            # Opened by file descriptor: with a path, libsndfile and soundfile would also look at its suffix.
            file.seek(0)
            source = file if isinstance(file, io.BytesIO) else file.fileno()
        self._file = _UnseekableFile(source, closefd=False)
        self.late = 0.0
        self.sample_rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.samples: int | None = None if self._file.frames == _UNKNOWN_LENGTH else self._file.frames
        self.expected_samples = self.samples
        self.format: str = self._file.format.lower()
        self.codec: str = self._file.subtype.lower()
        self.alone = self.format != "ogg" and not (self.format in ("aiff", "caf") and self.channels > 2)
        self._remaining = self._file.frames
        # Only in mapping family 1 do the channels of an Opus file have an order (RFC 7845, section 5.1.1).
        opus = head.find(b"OpusHead")
        self._order = None if opus >= 0 and head[opus + 18] != 1 else wav_order(self.codec, self.channels)

    def read(self, samples: int) -> NDArray[np.float32]:
        """Returns the next samples (C, n); n is less than `samples` only at the end of the file.

        Integers are scaled to [-1, 1), floats are kept. The channels are in the order of a WAV.
        """
        # Not beyond the end: what follows a FLAC, such as a tag, would be taken for damaged audio.
        block = self._file.read(min(samples, self._remaining), dtype="float32", always_2d=True)  # (n, C)
        self._remaining -= len(block)
        return np.ascontiguousarray(block.T if self._order is None else block.T[self._order])

    def skip(self, samples: int) -> None:
        """Go forward; in Ogg to about the place."""
        if self.samples is None:  # libsndfile cannot seek in it
            while samples > 0 and (read := self.read(min(samples, _SKIPPED)).shape[1]):
                samples -= read
            return
        samples = min(samples, self._remaining)
        self._file.seek(self._file.tell() + samples)
        self._remaining -= samples

    def close(self) -> None:
        """Free the decoder; the file itself stays open."""
        self._file.close()
