"""Sound by libsndfile: WAV, FLAC, AIFF, Ogg, Opus, CAF and its other formats."""

import io
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

_UNKNOWN = 2**63 - 1  # the length that libsndfile gives a FLAC whose header leaves it open


class _Forward(soundfile.SoundFile):  # type: ignore[misc]
    """soundfile seeks after every read to where the file already stands, and libsndfile's seek is wrong near the end of
    an Opus file: the samples that follow are other ones. What says that it cannot seek is left alone.
    """

    def seekable(self) -> bool:
        return False


class SoundfileSource:
    """Decoded samples of an open file, in order.

    Raises soundfile.LibsndfileError for what libsndfile cannot read.
    """

    def __init__(self, file: BinaryIO) -> None:
        # By descriptor: with a path, libsndfile and soundfile would look at its suffix too.
        file.seek(0)
        self._file = _Forward(file if isinstance(file, io.BytesIO) else file.fileno(), closefd=False)
        self.sample_rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.samples: int | None = None if self._file.frames == _UNKNOWN else self._file.frames
        self.format: str = self._file.format.lower()
        self.codec: str = self._file.subtype.lower()

    def read(self, samples: int) -> NDArray[np.float32]:
        """The next samples (C, n), n < `samples` only at the end. Integers scale to [-1, 1), floats stay."""
        block = self._file.read(samples, dtype="float32", always_2d=True)  # (n, C)
        return np.ascontiguousarray(block.T)

    def close(self) -> None:
        """Free the decoder; the file itself stays open."""
        self._file.close()
