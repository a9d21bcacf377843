"""Reading, inspecting and writing audio files, whole or in blocks.

probe, read, blocks, write    an AudioInfo from the header, an Audio, its blocks; a file
AudioReader, AudioWriter      open files, block by block
check_target                  the format of an output

>>> from narrows.media import audio
>>> audio.write("tone.flac", 0.1 * np.sin(np.arange(24_000) / 10)[None], 24_000)
>>> audio.probe("tone.flac").seconds
1.0
>>> audio.read("tone.flac").samples.shape
(1, 24000)
"""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import ClassVar, cast

import numpy as np
import soxr
from numpy.typing import ArrayLike, NDArray

from narrows.errors import InputError, NarrowsError, described
from narrows.media import notebook
from narrows.media.audio.limits import channels_text, check_rate, check_whole_rate
from narrows.media.audio.reader import AudioInfo, AudioReader
from narrows.media.audio.writer import AudioWriter, check_target
from narrows.media.extents import AudioExtent
from narrows.media.files import Source
from narrows.media.medium import Medium, Signal
from narrows.media.targets import Target

__all__ = ["MEDIUM", "Audio", "AudioInfo", "AudioReader", "AudioWriter", "blocks", "probe", "read", "write"]

_SUFFIXES = frozenset(
    {
        *(".wav", ".wave", ".rf64", ".bwf", ".w64", ".flac", ".fla", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"),
        *(".ogg", ".oga", ".opus", ".spx", ".mp3", ".mp2", ".mpga", ".aac", ".adts", ".ac3", ".eac3", ".ec3", ".dts"),
        *(".m4a", ".m4b", ".m4r", ".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".webm", ".weba", ".mka", ".mkv", ".ogv"),
        *(".wma", ".asf", ".wmv", ".avi", ".flv", ".ts", ".m2ts", ".mts", ".mpg", ".mpeg", ".vob"),
        *(".amr", ".ape", ".tta", ".tak", ".wv", ".dsf"),
    }
)
_BLOCK = 1 << 18  # samples; 1 MiB of float32 per channel


@dataclass(frozen=True, eq=False, repr=False)
class Audio(Signal):
    """Samples (C, T), float32 with full scale 1.0, and their rate in Hz.

    Raises:
        InputError: for samples that are no array of floats with two axes, and a rate that is no whole number.
    """

    medium: ClassVar[str] = "audio"

    samples: NDArray[np.float32]
    sample_rate: int

    def __post_init__(self) -> None:
        samples, rate = self.samples, self.sample_rate
        if not isinstance(samples, np.ndarray) or samples.dtype.kind != "f" or samples.ndim != 2 or not len(samples):
            raise InputError(f"expected samples (C, T) float32, got {described(samples)}")
        check_whole_rate(rate)
        object.__setattr__(self, "sample_rate", int(rate))

    @property
    def extent(self) -> AudioExtent:
        """Samples, rate and channels."""
        return AudioExtent(self.sample_rate, self.samples.shape[1], len(self.samples))

    @property
    def array(self) -> NDArray[np.float32]:
        """The samples."""
        return self.samples

    def with_array(self, array: NDArray[np.generic]) -> "Audio":
        """New audio with the given samples (C, T), at the same rate."""
        return Audio(array.astype(np.float32, copy=False), self.sample_rate)

    def __repr__(self) -> str:
        seconds = self.samples.shape[1] / self.sample_rate if self.sample_rate else 0
        return f"Audio({seconds:.2f} s, {self.sample_rate} Hz, {channels_text(len(self.samples))})"

    def _repr_html_(self) -> str | None:
        """A player for notebooks, of the first minute and two channels; None for samples that no file can hold."""
        part, file = self.samples[: notebook.MAX_CHANNELS], io.BytesIO()
        part = part[:, : min(notebook.MAX_SECONDS * self.sample_rate, notebook.MAX_SAMPLES // len(part))]
        try:
            write(file, part, self.sample_rate, format="wav")
        except NarrowsError:
            return None
        cut = []
        if part.shape[1] < self.samples.shape[1]:
            cut.append(f"the first {part.shape[1] / self.sample_rate:.3g} s")
        if len(part) < len(self.samples):
            cut.append(f"the first {len(part)} channels")
        return notebook.player(file.getvalue(), f"{self!r}{', of which ' * bool(cut)}{' and '.join(cut)}")

    def resampled(self, sample_rate: int) -> "Audio":
        """The same audio at another rate in Hz, by soxr (VHQ). Raises InputError for a rate out of range."""
        check_rate(sample_rate)
        if sample_rate == self.sample_rate:
            return self
        samples = soxr.resample(self.samples.T, self.sample_rate, sample_rate, quality="VHQ")
        return Audio(np.ascontiguousarray(samples.T, np.float32), sample_rate)


def probe(source: Source) -> AudioInfo:
    """Properties of an audio file, including the number of samples. `source` as for AudioReader.

    The number of samples is read from the header if it is exact there (WAV, FLAC, AIFF, Ogg, Opus, MP3 with a Xing
    header). Otherwise the whole file is decoded. Raises MediaError as AudioReader does.
    """
    with AudioReader(source) as reader:
        info = reader.info
        if info.samples is None:
            info = replace(info, samples=sum(block.shape[1] for block in reader.blocks(_BLOCK)))
        return info


def read(source: Source) -> Audio:
    """All samples of a file. Integers of b bits are divided by 2^(b - 1); floats are unchanged, even above 1.

    `source` as for AudioReader.

    Raises:
        MediaError: as AudioReader does, and for NaN or infinite samples and a damaged or truncated file.
    """
    with AudioReader(source) as reader:
        # The array is allocated after decoding, because the length in the header may be wrong.
        parts = list(reader.blocks(_BLOCK))
        samples = np.empty((reader.channels, sum(part.shape[1] for part in parts)), np.float32)
        end = samples.shape[1]
        while parts:  # from last to first; each part is freed once it is copied
            part = parts.pop()
            samples[:, end - part.shape[1] : end] = part
            end -= part.shape[1]
        return Audio(samples, reader.sample_rate)


def blocks(source: Source, samples: int = _BLOCK) -> Iterator[NDArray[np.float32]]:
    """Iterate over a file in blocks (C, `samples`); the last may be shorter. Only one block is in memory at a time.

    `source` as for AudioReader. The file is opened when the first block is requested. Use AudioReader to get the sample
    rate as well. Raises what `read` raises.
    """
    with AudioReader(source) as reader:
        yield from reader.blocks(samples)


def write(
    target: Target,
    samples: ArrayLike | Iterable[ArrayLike],
    sample_rate: int,
    *,
    overwrite: bool = False,
    encoding: str | None = None,
    format: str | None = None,
) -> None:
    """Write an audio file in the format of its suffix. The file appears when it is complete.

    Args:
        target: the path of the output file, or a binary file object; see AudioWriter.
        samples: (C, T), or an iterable of blocks (C, n).
        sample_rate: in Hz.
        overwrite: whether an existing file may be replaced.
        encoding: of the samples in the file; see AudioWriter.
        format: "wav", "flac", "ogg", "opus" or "mp3"; needed for a file object.

    Raises:
        InputError, MediaError: as AudioWriter does.
    """
    # An array or tensor is one block: iterating over it would give channels instead of blocks.
    parts = iter([cast(ArrayLike, samples)] if hasattr(samples, "__array__") else cast(Iterable[ArrayLike], samples))
    first = next(parts, ())
    if len(np.shape(first)) != 2:
        raise InputError(f"expected samples (channels, samples), got shape {np.shape(first)}; for mono: samples[None]")
    channels = np.shape(first)[0]
    with AudioWriter(
        target, sample_rate=sample_rate, channels=channels, overwrite=overwrite, encoding=encoding, format=format
    ) as writer:
        for part in chain([first], parts):
            writer.write(part)


def _write(target: Target, signal: Signal, overwrite: bool, format: str | None = None) -> None:
    assert isinstance(signal, Audio)
    write(target, signal.samples, signal.sample_rate, overwrite=overwrite, format=format)


MEDIUM = Medium(
    name="audio",
    files="audio files",
    extent=AudioExtent,
    suffixes=_SUFFIXES,
    default_suffix=".wav",
    default_model="speech",
    open=AudioReader,
    probe=probe,
    amount_of=lambda source: probe(source).seconds,
    read=read,
    write=_write,
    check_target=check_target,
    rate_unit="kbit/s",
    rate_key="kbit_per_second",
    rate_divisor=1000,
    speed_unit="× real time",
    speed_divisor=1,
    total_unit="hours",
    total_divisor=3600,
    amount_unit="second",
    amount_per_minute=60,
    amount_per_byte=1 / 32_000,
    min_amount=0.1,
)
