"""Writes audio files block by block; the file appears only when it is complete.

blocks (C, n) ─▶ clip, round ─▶ libsndfile ─▶ .narrows-….part ─▶ complete? ─▶ out.flac
"""

import os
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
import soundfile
from numpy.typing import ArrayLike, NDArray

from narrows.errors import InputError, MediaError, shortened
from narrows.media.atomic import atomic_write, write_error
from narrows.media.audio.channel_order import file_order
from narrows.media.audio.declared_end import declared_end
from narrows.media.audio.limits import MAX_AUDIO_CHANNELS, channels_error, finite_error, sample_rate_error
from narrows.media.audio.soundfile_decoder import SoundfileDecoder
from narrows.media.files import open_input, quoted
from narrows.media.targets import Target, suffix_of

_MAX_BLOCK = 65_536  # samples given to libsndfile at once; its Vorbis encoder overflows the stack with a million
_MAX_WAV_BYTES = 2**32 - 2**16  # lengths in a WAV have 32 bits; the rest is for the header


@dataclass(frozen=True)
class _Format:
    """The file format of a suffix, and the limits of libsndfile's encoder for it.

    Attributes:
        name: libsndfile's name of the format.
        encodings: our names of the encodings to libsndfile's; the first is the default.
        rates: the sample rates in Hz that it takes; None for all from 1 to 384 kHz.
        max_rate: the highest sample rate in Hz.
        max_channels: the greatest number of channels.
    """

    name: str
    encodings: dict[str, str]
    rates: tuple[int, ...] | None = None
    max_rate: int | None = None
    max_channels: int = MAX_AUDIO_CHANNELS

    def subtype(self, encoding: str | None) -> str:
        """libsndfile's name of an encoding, of the default one for None. Raises InputError for an unknown one."""
        default, *_ = self.encodings
        if encoding is not None and encoding not in tuple(self.encodings):
            raise InputError(f"expected one of the encodings {', '.join(self.encodings)}, got {shortened(encoding)}")
        return self.encodings[encoding or default]


_FORMATS = {
    ".wav": _Format("WAV", {"pcm16": "PCM_16", "pcm24": "PCM_24", "float32": "FLOAT"}),
    ".flac": _Format("FLAC", {"pcm16": "PCM_16", "pcm24": "PCM_24"}, max_channels=8),
    # Above 200 kHz libsndfile's Vorbis encoder crashes the process.
    ".ogg": _Format("OGG", {"vorbis": "VORBIS"}, max_rate=200_000),
    ".opus": _Format("OGG", {"opus": "OPUS"}, rates=(8_000, 12_000, 16_000, 24_000, 48_000)),
    ".mp3": _Format(
        "MP3",
        {"mp3": "MPEG_LAYER_III"},
        rates=(8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
        max_channels=2,
    ),
}


class AudioWriter:
    """An audio file that is written block by block.

        with AudioWriter("talk.flac", sample_rate=24_000, channels=1) as writer:
            for block in blocks:  # (1, n)
                writer.write(block)

    The file appears at the end of the `with` block; after an error in the block, KeyboardInterrupt included, no file is
    left and an older one is unchanged. The suffix of the path, or the argument `format`, selects the format:

        .wav    encoding "pcm16" (the default), "pcm24" or "float32"; 1 to 64 channels, less than 4 GiB
        .flac   "pcm16" (the default) or "pcm24"; 1 to 8 channels
        .ogg    Vorbis, up to 200 kHz
        .opus   Opus at 8, 12, 16, 24 or 48 kHz
        .mp3    MP3 at 8 to 48 kHz; 1 or 2 channels

    The channels are given in the order of a WAV (left, right, centre, low frequencies, back left, ...) and are written
    in that of the format, so that each reaches its loudspeaker.

    PCM rounds to multiples of 2^-15 (2^-23) and clips to [-1, 1). "float32" stores the samples unchanged, and the lossy
    encoders get them unchanged.

    Args:
        target: the path of the output file, or a binary file object, which is written to once all is encoded, from its
            position on, and stays open.
        sample_rate: in Hz.
        channels: number of channels.
        overwrite: whether an existing file may be replaced.
        encoding: one of the encodings of the format.
        format: "wav", "flac", "ogg", "opus" or "mp3"; needed for a file object.

    Raises:
        InputError: for an unknown suffix or encoding, a sample rate outside 1 to 384 kHz, channels outside 1 to 64, and
            samples that cannot be written.
        MediaError: for a rate or channels that the format does not take, a path that cannot be written, an existing
            file without `overwrite`, and a full disk.
    """

    def __init__(
        self,
        target: Target,
        *,
        sample_rate: int,
        channels: int,
        overwrite: bool = False,
        encoding: str | None = None,
        format: str | None = None,
    ) -> None:
        self._name = quoted(target)
        self._format = _format_of(target, format, sample_rate, channels)
        self._subtype = self._format.subtype(encoding)
        self._order = file_order(self._subtype.lower(), channels)
        self._target = target
        self._overwrite = overwrite
        self._stack = ExitStack()
        self._encoder: soundfile.SoundFile | None = None
        self.sample_rate = sample_rate
        self.channels = channels
        self.samples = 0  # per channel, written so far

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._file = stack.enter_context(atomic_write(self._target, overwrite=self._overwrite))
            try:
                self._encoder = soundfile.SoundFile(
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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            with self._stack:
                self._finish()
        else:
            self._discard()
            self._stack.__exit__(kind, error, traceback)

    def write(self, block: ArrayLike) -> None:
        """Append samples (C, n), floats with full scale 1.0.

        Raises:
            InputError: for another shape or type, and for NaN or infinity; the message names the place.
            MediaError: for a full disk, and for a WAV of more than 4 GiB.
        """
        if self._encoder is None:
            raise InputError(f"{self._name} is not open; write to it inside: with AudioWriter(...) as writer")
        samples = _floats(block, self.channels)
        if message := finite_error(samples, self.samples, f" for {self._name}"):
            raise InputError(message)
        if self._order is not None:
            samples = samples[self._order]
        try:
            for start in range(0, samples.shape[1], _MAX_BLOCK):
                self._encoder.write(self._quantized(samples[:, start : start + _MAX_BLOCK]))
        except soundfile.LibsndfileError as error:
            raise self._failure(error.error_string) from error
        self.samples += samples.shape[1]
        if self._format.name == "WAV" and os.fstat(self._file.fileno()).st_size > _MAX_WAV_BYTES:
            raise MediaError(
                f"expected less than the 4 GiB that a .wav can hold in {self._name}; write a .flac instead"
            )

    def _quantized(self, block: NDArray[np.float32]) -> NDArray[np.generic]:
        """Floats (C, n) as numbers (n, C) that libsndfile stores unchanged.

        libsndfile's own conversion multiplies floats by 2^15 - 1, and reading divides by 2^15: values would change.
        """
        bits = {"PCM_16": 16, "PCM_24": 24}.get(self._subtype)
        if bits is None:
            return np.ascontiguousarray(block.T)
        scale = 2.0 ** (bits - 1)
        levels = np.clip(np.rint(block.T * scale), -scale, scale - 1)
        return np.ascontiguousarray(levels, np.int16) if bits == 16 else np.ascontiguousarray(levels, np.int32) << 8

    def _finish(self) -> None:
        """Close the encoder and check that the file is complete: some encoders do not report a full disk."""
        encoder, self._encoder = self._encoder, None
        assert encoder is not None
        try:
            encoder.close()
            if self.samples == 0:
                raise InputError(f"expected one sample or more for {self._name}, got no samples")
            with open_input(self._file.name) as file:
                if (declared_end(file, size := os.fstat(file.fileno()).st_size) or 0) > size:
                    raise self._failure("bytes are missing")
                written = SoundfileDecoder(file)
                written.close()
            if written.samples != self.samples:
                raise self._failure(f"{written.samples} of {self.samples} samples were written")
        except soundfile.LibsndfileError as error:
            raise self._failure(error.error_string) from error

    def _discard(self) -> None:
        with suppress(soundfile.LibsndfileError):
            if self._encoder is not None:
                self._encoder.close()
        self._encoder = None

    def _failure(self, reason: str) -> MediaError:
        """The error for a failed write. libsndfile does not say why; one more write gets the reason from the system."""
        self._discard()
        try:
            os.lseek(self._file.fileno(), 0, os.SEEK_END)
            for _ in range(2):  # the first may fill the rest of the disk
                os.write(self._file.fileno(), bytes(_MAX_BLOCK))
            os.fsync(self._file.fileno())
        except OSError as error:
            return write_error(self._name, error)
        return write_error(self._name, reason)


def check_target(target: Target, format: str | None = None) -> None:
    """Raise InputError for an output that cannot be written or whose format is unknown."""
    suffix_of(target, format, _FORMATS)


def _format_of(target: Target, name: str | None, sample_rate: int, channels: int) -> _Format:
    """The format of an output. Raises InputError or MediaError for a rate or channels that it does not take."""
    if not isinstance(sample_rate, (int, np.integer)) or not isinstance(channels, (int, np.integer)):
        raise InputError(
            f"expected whole numbers, got sample_rate={shortened(sample_rate)} and channels={shortened(channels)}"
        )
    suffix = suffix_of(target, name, _FORMATS)
    where = f" for {quoted(target)}"
    if message := sample_rate_error(sample_rate, where) or channels_error(channels, where):
        raise InputError(message)
    format = _FORMATS[suffix]
    if sample_rate not in (format.rates or (sample_rate,)) or sample_rate > (format.max_rate or sample_rate):
        rates = ", ".join(map(str, format.rates)) if format.rates else f"up to {format.max_rate}"
        raise MediaError(
            f"expected a sample rate of {rates} Hz for {suffix}, got {sample_rate}{where}; resample, or write .wav"
        )
    if channels > format.max_channels:
        raise MediaError(
            f"expected at most {format.max_channels} channels for {suffix}, got {channels}{where}; write .wav"
        )
    return format


def _floats(block: ArrayLike, channels: int) -> NDArray[np.float32]:
    """The block as a float32 array (C, n); a float64 that is too large becomes infinity."""
    try:
        samples = np.asarray(block)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists, tensors on a GPU or with a gradient
        raise InputError(f"expected samples (C, n) as an array in memory: {str(error).splitlines()[0]}") from error
    if samples.ndim != 2 or samples.shape[0] != channels:
        hint = "; transpose it with .T" if samples.ndim == 2 and samples.shape[1] == channels else ""
        raise InputError(f"expected samples ({channels}, n), got shape {samples.shape}{hint}")
    if samples.dtype.kind != "f":
        raise InputError(f"expected samples as floats in [-1, 1], got {samples.dtype}; divide int16 by 32768")
    with np.errstate(over="ignore"):
        return samples.astype(np.float32, copy=False)
