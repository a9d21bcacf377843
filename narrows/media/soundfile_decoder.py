"""Decodes audio with libsndfile: WAV, FLAC, AIFF, Ogg, Opus, CAF and its other formats."""

import io
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

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
        file: open for reading; it is read from its first byte.

    Raises:
        soundfile.LibsndfileError: for a file that libsndfile cannot read.
    """

    def __init__(self, file: BinaryIO) -> None:
        # Opened by file descriptor: with a path, libsndfile and soundfile would also look at its suffix.
        file.seek(0)
        self._file = _UnseekableFile(file if isinstance(file, io.BytesIO) else file.fileno(), closefd=False)
        self.sample_rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.samples: int | None = None if self._file.frames == _UNKNOWN_LENGTH else self._file.frames
        self.format: str = self._file.format.lower()
        self.codec: str = self._file.subtype.lower()

    def read(self, samples: int) -> NDArray[np.float32]:
        """Returns the next samples (C, n); n is less than `samples` only at the end of the file.

        Integers are scaled to [-1, 1), floats are kept.
        """
        block = self._file.read(samples, dtype="float32", always_2d=True)  # (n, C)
        return np.ascontiguousarray(block.T)

    def close(self) -> None:
        """Free the decoder; the file itself stays open."""
        self._file.close()
