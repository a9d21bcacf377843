"""Reads audio files block by block, with memory that does not depend on their length.

path ─▶ declared end ≤ size? ─▶ libsndfile, else FFmpeg ─▶ rate, channels? ─▶ blocks ─▶ finite? complete? ─▶ (C, n)
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from narrows.errors import InputError, MediaError, shortened
from narrows.media.audio.decoders import ADVICE, no_samples_error, open_decoder
from narrows.media.audio.limits import channels_error, channels_text, sample_rate_error, samples_error
from narrows.media.files import Source, library_errors, open_input, quoted, size_of, stored
from narrows.media.medium import Reader

_LATE = 0.05  # seconds that are worth a warning


@dataclass(frozen=True)
class AudioInfo:
    """Properties of an audio file.

    Attributes:
        sample_rate: in Hz.
        channels: number of channels.
        samples: per channel; None if it is only known after decoding the file.
        format: of the file, as libsndfile or FFmpeg names it: "wav", "flac", "mov,mp4,m4a,..."
        codec: of the audio: "pcm_16", "vorbis", "aac", ...
        late: seconds between the begin of an MP4 or Matroska and its first sample; they are no part of the signal.
    """

    sample_rate: int
    channels: int
    samples: int | None
    format: str
    codec: str
    late: float = 0.0

    @property
    def seconds(self) -> float:
        """The duration. Raises InputError if the number of samples is not known."""
        if self.samples is None:
            raise InputError("expected a known number of samples, got None; use probe(), which decodes the file")
        return self.samples / self.sample_rate

    @property
    def facts(self) -> dict[str, Any]:
        """Duration, rate, channels, format and codec."""
        seconds = None if self.samples is None else round(self.seconds, 3)
        facts = {"seconds": seconds, "sample_rate": self.sample_rate, "channels": self.channels}
        return facts | {"samples": self.samples, "format": self.format, "codec": self.codec}

    @property
    def warnings(self) -> tuple[str, ...]:
        """A warning about a late start."""
        if self.late < _LATE:
            return ()
        return (f"its sound begins {self.late:.2f} s late; the time before, without samples, is left out",)


class AudioReader(Reader):
    """An open audio file.

        with AudioReader("talk.flac") as reader:
            for block in reader.blocks(reader.sample_rate):  # (C, n), a second each
                ...

    The format is recognised by the content of the file, not by its suffix. Of several audio tracks the first is read.
    A writer to a pipe leaves a placeholder for the length; such a file is read to its end.

    Args:
        source: the path or bytes of a file, or a binary file object, which is read from its position to its end.
        cut: whether a file may be opened that ends before the end that its header declares.

    Attributes:
        sample_rate: in Hz.
        channels: number of channels.
        samples: per channel; None if it is only known after decoding the file.
        format, codec: as in AudioInfo.

    Raises:
        MediaError: for a file that is missing, a folder, empty, cut short, without samples or in no format that can be
            decoded, for a sample rate outside 1 to 384 kHz and for more than 64 channels.
    """

    def __init__(self, source: Source, *, cut: bool = False) -> None:
        self._path = path = stored(source)
        self._name = quoted(path)
        self._position = 0  # samples read
        self._skipped = False
        self._file = open_input(path)
        try:
            self._size = size_of(self._file)
            self._decoder = open_decoder(self._file, path, cut=cut)
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
            message = no_samples_error(self._name)
        if message:
            raise self._close_with(message)

    def __repr__(self) -> str:
        length = "unknown length" if self.samples is None else f"{self.samples / self.sample_rate:.2f} s"
        channels = channels_text(self.channels)
        return f"<AudioReader {self._name}: {self.format} ({self.codec}), {length}, {self.sample_rate} Hz, {channels}>"

    @property
    def info(self) -> AudioInfo:
        """Properties of the file, from its header."""
        late = self._decoder.late
        return AudioInfo(self.sample_rate, self.channels, self.samples, self.format, self.codec, late)

    @property
    def fraction(self) -> float | None:
        """How much of the audio is read, 0 to 1; None if its length is not known."""
        return self._position / self.samples if self.samples else None

    @property
    def expected_samples(self) -> int | None:
        """About how many samples per channel there are, as the container says; None if it says nothing."""
        return self._decoder.expected_samples if self.samples is None else self.samples

    def skip(self, samples: int) -> None:
        """Go about `samples` forward without decoding them, for parts at random places.

        In Ogg, MP3 and Matroska the next sample may be some milliseconds beside the place, and a file whose end is
        missing is not recognised any more. To read an exact part, read what is before it.

        Raises:
            MediaError: for a file that cannot be decoded at the place.
        """
        with library_errors(self._path, self._damage):
            self._decoder.skip(samples)
        self._position += samples
        self._skipped = True

    def read(self, samples: int) -> NDArray[np.float32]:
        """The next samples (C, n), n < `samples` only at the end.

        Integers of b bits are divided by 2^(b - 1), so they are in [-1, 1). Floats are unchanged, also above 1.

        Raises:
            MediaError: for NaN, infinity, samples above 16, damage, and a file that ends before the end that its
                header declares; the message names the place.
            InputError: for `samples` below 1, and if the file is closed.
        """
        if isinstance(samples, bool) or not isinstance(samples, int | np.integer) or samples < 1:
            raise InputError(f"expected a block of 1 sample or more, got samples={shortened(samples)}")
        if self._file.closed:
            raise InputError(f"expected an open file, got {self._name}, which is closed; open it again")
        with library_errors(self._path, self._damage):
            block = self._decoder.read(samples)
        message = samples_error(block, self._position, f" in {self._name}")
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
        if size_of(self._file) < self._size:
            raise self._close_with(
                f"{self._name} was cut while it was read, {self._place()}; wait until it is completely written"
            )
        if self._skipped:
            return
        if self.samples is not None and self._position < self.samples:
            raise self._close_with(f"{self._name} is cut {self._place()} of {self.samples}; {ADVICE}")
        if self._position == 0:
            raise self._close_with(no_samples_error(self._name))

    def _damage(self, reason: str) -> str:
        """The message for a file that cannot be decoded further, which is closed."""
        self.close()
        return f"{self._name} is damaged or cut somewhere {self._place()} ({reason}); {ADVICE}"

    def _close_with(self, message: str) -> MediaError:
        """The error with this message. Closes the file: a further `read` would report the end of the audio instead."""
        self.close()
        return MediaError(message)

    def _place(self) -> str:
        return f"after {self._position} samples ({self._position / self.sample_rate:.2f} s)"
