"""Writing sound block by block into a file that appears only when it is complete.

blocks (C, n) ─▶ clip, round ─▶ libsndfile ─▶ .narrows-….part ─▶ all there? ─▶ out.flac
"""

import os
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import soundfile
from numpy.typing import ArrayLike, NDArray

from narrows.errors import InputError, MediaError
from narrows.media.atomic import unfinished, written_beside
from narrows.media.audio_limits import MOST_CHANNELS, channels_fault, finite_fault, rate_fault
from narrows.media.files import StrPath, open_input, shown
from narrows.media.soundfile_source import SoundfileSource
from narrows.media.stated_end import stated_end

_PIECE = 65_536  # samples given to libsndfile at once; its Vorbis encoder overflows the stack with a million
_WAV_BYTES = 2**32 - 2**16  # lengths in a WAV are 32 bits; some room for the header


@dataclass(frozen=True)
class _Format:
    """What a suffix stands for, and what libsndfile's encoder for it takes."""

    name: str
    encodings: dict[str, str]  # ours: libsndfile's; the first is the default
    rates: tuple[int, ...] | None = None  # Hz; None: all that this library takes
    highest_rate: int | None = None  # Hz
    channels: int = MOST_CHANNELS

    def subtype(self, encoding: str | None) -> str:
        """libsndfile's name for one of our encodings."""
        default, *_ = self.encodings
        if encoding is not None and encoding not in self.encodings:
            raise InputError(f"encoding {encoding!r} was given; this suffix takes {', '.join(self.encodings)}")
        return self.encodings[encoding or default]


_FORMATS = {
    ".wav": _Format("WAV", {"pcm16": "PCM_16", "pcm24": "PCM_24", "float32": "FLOAT"}),
    ".flac": _Format("FLAC", {"pcm16": "PCM_16", "pcm24": "PCM_24"}, channels=8),
    # Above 200 kHz libsndfile's Vorbis encoder does not refuse: it crashes the process.
    ".ogg": _Format("OGG", {"vorbis": "VORBIS"}, highest_rate=200_000),
    ".opus": _Format("OGG", {"opus": "OPUS"}, rates=(8_000, 12_000, 16_000, 24_000, 48_000)),
    ".mp3": _Format(
        "MP3",
        {"mp3": "MPEG_LAYER_III"},
        rates=(8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
        channels=2,
    ),
}


class AudioWriter:
    """A file of sound that is written block by block.

        with AudioWriter("talk.flac", sample_rate=24_000, channels=1) as writer:
            for block in blocks:  # (1, n)
                writer.write(block)

    The file takes its name at the end of the `with`; after an error in it, KeyboardInterrupt included, nothing is left
    and an older file is as it was. `sample_rate` is in Hz; the suffix of the path chooses the format:

        .wav    encoding "pcm16" (the default), "pcm24" or "float32"; 1 to 64 channels, less than 4 GiB
        .flac   "pcm16" (the default) or "pcm24"; 1 to 8 channels
        .ogg    Vorbis, up to 200 kHz
        .opus   Opus at 8, 12, 16, 24 or 48 kHz
        .mp3    MP3 at 8 to 48 kHz; 1 or 2 channels

    PCM rounds to the nearest step of 2^-15 (2^-23) and clips to [-1, 1); "float32" stores samples as they are, and the
    lossy encoders are given them as they are.

    Raises MediaError for a suffix, rate or channels that no format here takes, a path that cannot be written, one that
    exists without `overwrite`, and a full disk; InputError for other numbers and for samples that cannot be written.
    """

    def __init__(
        self, path: StrPath, *, sample_rate: int, channels: int, overwrite: bool = False, encoding: str | None = None
    ) -> None:
        self._name = shown(path)
        self._format = _format_of(path, sample_rate, channels)
        self._subtype = self._format.subtype(encoding)
        self._path = path
        self._overwrite = overwrite
        self._stack = ExitStack()
        self._sound: soundfile.SoundFile | None = None
        self.sample_rate = sample_rate
        self.channels = channels
        self.samples = 0  # written so far, of one channel

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._file = stack.enter_context(written_beside(self._path, overwrite=self._overwrite))
            try:
                self._sound = soundfile.SoundFile(
                    self._file.fileno(),
                    "w",
                    self.sample_rate,
                    self.channels,
                    format=self._format.name,
                    subtype=self._subtype,
                    closefd=False,
                )
            except soundfile.LibsndfileError as error:
                raise self._failure(error.error_string) from error
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is None:
            with self._stack:
                self._finish()
        else:
            self._discard()
            self._stack.__exit__(kind, error, at)

    def write(self, block: ArrayLike) -> None:
        """Append samples (C, n), floats with full scale 1.0.

        Raises InputError for another shape or type, and for NaN or infinity, whose place it names.
        """
        if self._sound is None:
            raise InputError(f"{self._name} is not open; write to it inside: with AudioWriter(...) as writer")
        samples = _floats(block, self.channels)
        fault = finite_fault(samples, self.samples)
        if fault:
            raise InputError(f"the samples for {self._name} have {fault}; every sample must be a finite number")
        try:
            for first in range(0, samples.shape[1], _PIECE):
                self._sound.write(self._encoded(samples[:, first : first + _PIECE]))
        except soundfile.LibsndfileError as error:
            raise self._failure(error.error_string) from error
        self.samples += samples.shape[1]
        if self._format.name == "WAV" and os.fstat(self._file.fileno()).st_size > _WAV_BYTES:
            raise MediaError(f"{self._name} would be longer than the 4 GiB that a .wav can hold; write a .flac instead")

    def _encoded(self, piece: NDArray[np.float32]) -> NDArray[np.generic]:
        """(C, n) floats as the (n, C) numbers that libsndfile stores unchanged.

        Its own conversion of floats multiplies by 2^15 - 1 and reading divides by 2^15, so that no value would survive.
        """
        bits = {"PCM_16": 16, "PCM_24": 24}.get(self._subtype)
        if bits is None:
            return np.ascontiguousarray(piece.T)
        half = 2.0 ** (bits - 1)
        steps = np.clip(np.rint(piece.T * half), -half, half - 1)
        return np.ascontiguousarray(steps, np.int16) if bits == 16 else np.ascontiguousarray(steps, np.int32) << 8

    def _finish(self) -> None:
        """Close the encoder and look whether all that it was given arrived: some do not notice a full disk."""
        sound, self._sound = self._sound, None
        assert sound is not None
        try:
            sound.close()
            if self.samples == 0:
                raise InputError(f"no samples were written to {self._name}; write one or more")
            with open_input(self._file.name) as file:
                if (stated_end(file, size := os.fstat(file.fileno()).st_size) or 0) > size:
                    raise self._failure("bytes are missing")
                written = SoundfileSource(file)
                written.close()
            if written.samples != self.samples:
                raise self._failure(f"{written.samples} of {self.samples} samples arrived")
        except soundfile.LibsndfileError as error:
            raise self._failure(error.error_string) from error

    def _discard(self) -> None:
        with suppress(soundfile.LibsndfileError):
            if self._sound is not None:
                self._sound.close()
        self._sound = None

    def _failure(self, told: str) -> MediaError:
        """The error for bytes that did not arrive. libsndfile does not say why: one more write asks the system."""
        self._discard()
        try:
            os.lseek(self._file.fileno(), 0, os.SEEK_END)
            for _ in range(2):  # the first may fill what little room there is
                os.write(self._file.fileno(), bytes(_PIECE))
            os.fsync(self._file.fileno())
        except OSError as error:
            return unfinished(self._path, error)
        return unfinished(self._path, told)


def check_suffix(path: StrPath) -> _Format:
    """The format that the suffix of an output stands for. Raises InputError for an unknown suffix."""
    suffix = Path(path).suffix
    format = _FORMATS.get(suffix.lower())
    if format is None:
        known = ", ".join(_FORMATS)
        raise InputError(f"expected one of the suffixes {known}, got {suffix or 'none'} in {shown(path)}")
    return format


def _format_of(path: StrPath, sample_rate: int, channels: int) -> _Format:
    """The format that the suffix stands for, if it takes the rate and the channels."""
    if not isinstance(sample_rate, (int, np.integer)) or not isinstance(channels, (int, np.integer)):
        raise InputError(f"sample_rate={sample_rate!r} and channels={channels!r} were given; give whole numbers")
    fault = rate_fault(sample_rate) or channels_fault(channels)
    if fault:
        raise InputError(f"{shown(path)} was to get {fault}")
    format, suffix = check_suffix(path), Path(path).suffix
    if sample_rate not in (format.rates or (sample_rate,)) or sample_rate > (format.highest_rate or sample_rate):
        taken = ", ".join(map(str, format.rates)) if format.rates else f"up to {format.highest_rate}"
        raise MediaError(
            f"{shown(path)} cannot be written: {suffix} takes {taken} Hz, not {sample_rate}; resample, or write .wav"
        )
    if channels > format.channels:
        taken = f"{format.channels} channels at most"
        raise MediaError(f"{shown(path)} cannot be written: {suffix} takes {taken}, not {channels}; write .wav")
    return format


def _floats(block: ArrayLike, channels: int) -> NDArray[np.float32]:
    """The block as an array (C, n) of float32; a float64 beyond its range becomes infinity."""
    try:
        samples = np.asarray(block)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists, tensors on a GPU or with a gradient
        raise InputError(f"samples (C, n) must be an array in memory: {str(error).splitlines()[0]}") from error
    if samples.ndim != 2 or samples.shape[0] != channels:
        hint = ": turn it around with .T" if samples.ndim == 2 and samples.shape[1] == channels else ""
        raise InputError(f"samples have the shape {samples.shape}, and ({channels}, any number) is wanted{hint}")
    if samples.dtype.kind != "f":
        raise InputError(f"samples are {samples.dtype}, and floats in [-1, 1] are wanted; divide int16 by 32768")
    with np.errstate(over="ignore"):
        return samples.astype(np.float32, copy=False)
