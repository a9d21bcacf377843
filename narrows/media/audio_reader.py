"""Reading sound block by block, so that an hour needs no more memory than a second.

path ─▶ stated end ≤ size? ─▶ libsndfile, else FFmpeg ─▶ rate, channels? ─▶ blocks ─▶ finite? all there? ─▶ (C, n)
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, Protocol, Self

import numpy as np
import soundfile
from numpy.typing import NDArray

from narrows.errors import InputError, MediaError
from narrows.media.audio_limits import channels_fault, finite_fault, rate_fault
from narrows.media.files import Source, open_input, shown
from narrows.media.pyav_source import BrokenSoundError, NoSoundError, PyavSource
from narrows.media.soundfile_source import SoundfileSource
from narrows.media.stated_end import mpeg_format, ogg_streams, stated_end

_NO_SAMPLES = "holds no samples; give a file of one sample or more"
_AGAIN = "get the whole file again, or keep what is there with: ffmpeg -i FILE OTHER.wav"


class _Source(Protocol):
    sample_rate: int
    channels: int
    samples: int | None
    format: str
    codec: str

    def read(self, samples: int) -> NDArray[np.float32]: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class AudioInfo:
    """What an audio file holds.

    Attributes:
        sample_rate: in Hz.
        channels: number of channels.
        samples: per channel; None where only decoding the file tells.
        format: of the file, as the library that reads it calls it: "wav", "flac", "mov,mp4,m4a,..."
        codec: of the audio: "pcm_16", "vorbis", "aac", ...
    """

    sample_rate: int
    channels: int
    samples: int | None
    format: str
    codec: str

    @property
    def seconds(self) -> float:
        """The duration. Raises InputError where the number of samples is not known."""
        if self.samples is None:
            raise InputError("expected a known number of samples, got a file that must be decoded first; use probe()")
        return self.samples / self.sample_rate

    @property
    def warnings(self) -> tuple[str, ...]:
        """Nothing is left out."""
        return ()


class AudioReader:
    """An open audio file.

        with AudioReader("talk.flac") as reader:
            for block in reader.blocks(reader.sample_rate):  # (C, n), a second each
                ...

    What the file is, is found out by reading it; its suffix is not looked at. `sample_rate` is in Hz. `samples` counts
    those of one channel, and is None where only decoding tells. Of several sound tracks the first is read.

    Raises MediaError when opened: no such file, a folder, empty, nothing that can be decoded, cut short, no samples, a
    rate outside 1 to 384 kHz, channels outside 1 to 64. A length for which a writer to a pipe left a placeholder is no
    fault: then everything up to the end of the file is read.
    """

    def __init__(self, path: Source) -> None:
        self._name = shown(path)
        self._position = 0  # samples read
        self._file = open_input(path)
        try:
            self._size = _size(self._file)
            self._source = _source(self._file, path)
        except BaseException:
            self._file.close()
            raise
        self.sample_rate = self._source.sample_rate
        self.channels = self._source.channels
        self.samples = self._source.samples
        self.format = self._source.format
        self.codec = self._source.codec
        fault = rate_fault(self.sample_rate) or channels_fault(self.channels)
        if self.samples == 0 or fault:
            raise self._refusal(_NO_SAMPLES if self.samples == 0 else f"has {fault}")

    @property
    def info(self) -> AudioInfo:
        """What the header of the file says."""
        return AudioInfo(self.sample_rate, self.channels, self.samples, self.format, self.codec)

    def read(self, samples: int) -> NDArray[np.float32]:
        """The next samples (C, n), n < `samples` only at the end.

        Integers of b bits are divided by 2^(b - 1), so they lie in [-1, 1). Floats are as they are, over 1 as well.

        Raises MediaError, naming the place: NaN or infinity, damage, a file that ends before its header says.
        """
        if samples < 1:
            raise InputError(f"a block of {samples} samples was asked for; ask for 1 or more")
        if self._file.closed:
            raise InputError(f"{self._name} was closed already; open it again to read on")
        try:
            block = self._source.read(samples)
        except (soundfile.LibsndfileError, BrokenSoundError) as error:
            reason = error.error_string if isinstance(error, soundfile.LibsndfileError) else str(error)
            raise self._refusal(f"is damaged or cut some time {self._place()}{_because(reason)}; {_AGAIN}") from error
        fault = finite_fault(block, self._position)
        if fault:
            raise self._refusal(f"has {fault}; every sample must be a finite number: mend that place")
        self._position += block.shape[1]
        if block.shape[1] < samples:
            self._check_end()
        return block

    def blocks(self, samples: int) -> Iterator[NDArray[np.float32]]:
        """What is left of the file in blocks (C, `samples`); the last may be shorter. Raises what `read` raises."""
        while True:
            block = self.read(samples)
            if block.shape[1]:
                yield block
            if block.shape[1] < samples:
                return

    def close(self) -> None:
        """Close the file. A second time does nothing."""
        self._source.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _check_end(self) -> None:
        """Decoders end quietly where the bytes end; whether the sound did as well is asked here."""
        if _size(self._file) < self._size:
            raise self._refusal(f"was cut while it was read, {self._place()}; wait until it is written")
        if self.samples is not None and self._position < self.samples:
            raise self._refusal(f"is cut {self._place()} of {self.samples}; {_AGAIN}")
        if self._position == 0:
            raise self._refusal(_NO_SAMPLES)

    def _refusal(self, told: str) -> MediaError:
        """Closes the file as well: who reads on after an error would be told that the sound had just ended."""
        self.close()
        return MediaError(f"{self._name} {told}")

    def _place(self) -> str:
        return f"after {self._position} samples ({self._position / self.sample_rate:.2f} s)"


def _source(file: BinaryIO, path: Source) -> _Source:
    """The decoder that reads the file. Raises MediaError when none does, or the file is shorter than it says."""
    name, size = shown(path), _size(file)
    end = stated_end(file, size)
    if end is not None and end > size:
        raise MediaError(f"{name} is cut: it tells of {end} bytes and {size} are there; {_AGAIN}")
    refusals, empty = [], False
    # libsndfile takes MP3 without a Xing header for shorter than it is, and prints when one is damaged; of several Ogg
    # streams it reads the first. FFmpeg does all that right.
    mpeg = mpeg_format(file)
    if mpeg is None and ogg_streams(file) < 2:
        try:
            source = SoundfileSource(file)
        except soundfile.LibsndfileError as error:
            refusals.append(f"libsndfile says {error.error_string.rstrip('. ').lower()!r}")
        else:
            empty = source.samples == 0
            # A length of 0 may come from a writer to a pipe; it counts where the rest of the header bears it out.
            if not (empty and end is None) and "mpeg" not in source.codec:
                return source
            source.close()
    from av import FFmpegError

    # A Xing header counts the frames of its MP3, unless a second MP3 was appended or the file is mostly something else.
    counted = mpeg == "mp3" and end is not None and mpeg_format(file, end) is None and size - end <= size // 32
    try:
        return PyavSource(path, format=mpeg, counted=counted)
    except NoSoundError as error:
        raise MediaError(f"{name} has no sound track; give a file of sound, or a film that has one") from error
    except (FFmpegError, BrokenSoundError) as error:
        if empty:
            raise MediaError(f"{name} {_NO_SAMPLES}") from error
        refusals.append(f"FFmpeg says {(getattr(error, 'strerror', None) or str(error)).lower()!r}")
        raise MediaError(
            f"{name} is no sound that can be decoded ({', '.join(refusals)}); "
            "wanted is WAV, FLAC, Ogg, Opus, MP3, AIFF, M4A, or a film with a sound track"
        ) from error


def _size(file: BinaryIO) -> int:
    """In bytes; the position stays."""
    at = file.tell()
    size = file.seek(0, os.SEEK_END)
    file.seek(at)
    return size


def _because(reason: str) -> str:
    return f" ({reason[0].lower()}{reason[1:].rstrip('. ')})" if reason else ""
