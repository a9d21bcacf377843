"""Encodes the sound track of a clip that is written, as far as its frames are written."""

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import soxr
from numpy.typing import NDArray

from narrows.errors import InputError, described
from narrows.media.audio.limits import check_rate, samples_error
from narrows.media.video.formats import Format
from narrows.media.video.signal import Sound

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import OutputContainer

_DEFAULT_RATE = 48_000  # Hz; of sound that is resampled
_AHEAD = Fraction(1, 2)  # seconds by which the sound is written earlier than the frames
_PCM = 2.0**15


class SoundEncoder:
    """Reads blocks of samples as they are needed, and writes them to a container.

    Args:
        sound: the sound track.
        format: of the file.
        name: of the file, for messages.

    Attributes:
        sample_rate: in the file, in Hz.
        offset: of the first sample from the first frame, in samples at this rate.

    Raises:
        InputError: for a rate or a number of channels that cannot be written.
    """

    def __init__(self, sound: Sound, format: Format, name: str) -> None:
        check_rate(sound.sample_rate)
        self._layout = format.layout(sound.channels, name)
        self._sound, self._format, self._name = sound, format, name
        taken = format.sample_rates is None or sound.sample_rate in format.sample_rates
        self.sample_rate = sound.sample_rate if taken else _DEFAULT_RATE
        self.offset = round(Fraction(sound.offset * self.sample_rate, sound.sample_rate))
        self._begin = self._written = 0
        self._ended = False

    def open(self, container: "OutputContainer", begin: int) -> None:
        """Add the track to a container.

        Args:
            container: open for writing.
            begin: the time of the first sample, in samples. Where time stamps are rounded, silence fills this time.
        """
        self._container = container
        stream: Any = container.add_stream(self._format.sound_codec, rate=self.sample_rate, layout=self._layout)
        self._stream: AudioStream = stream
        self._stream.time_base = Fraction(1, self.sample_rate)
        silence = begin if self._format.milliseconds else 0
        self._begin = begin - silence
        self._blocks = self._read(silence)

    def write_until(self, time: Fraction) -> None:
        """Write the samples up to a time in seconds after the first frame, and some more."""
        wanted = (time + _AHEAD) * self.sample_rate - self.offset
        while not self._ended and self._written < wanted:
            self._write(next(self._blocks, None))

    def finish(self) -> None:
        """Write the rest."""
        while not self._ended:
            self._write(next(self._blocks, None))

    def _read(self, silence: int) -> Iterator[NDArray[np.float32]]:
        """All samples, at the rate of the file."""
        rate, channels = self._sound.sample_rate, self._sound.channels
        for place in range(0, silence, rate):  # a second each
            yield np.zeros((channels, min(rate, silence - place)), np.float32)
        same = rate == self.sample_rate
        resample = None if same else soxr.ResampleStream(rate, self.sample_rate, channels, "float32", "VHQ")
        place = 0
        for block in self._sound.blocks:
            if not isinstance(block, np.ndarray) or block.dtype.kind != "f" or block.shape[:-1] != (channels,):
                raise InputError(f"expected samples ({channels}, n) float32 as sound, got {described(block)}")
            if message := samples_error(block, place, f" of the sound for {self._name}"):
                raise InputError(message)
            place += block.shape[1]
            samples = block.astype(np.float32, copy=False)
            yield samples if resample is None else resample.resample_chunk(np.ascontiguousarray(samples.T)).T
        if resample is not None:
            yield resample.resample_chunk(np.zeros((0, channels), np.float32), last=True).T

    def _write(self, block: NDArray[np.float32] | None) -> None:
        """Encode a block (C, n), or what is left for None."""
        from av import AudioFrame

        frame = None
        if block is None:
            self._ended = True
        elif block.shape[1] == 0:
            return
        else:
            # Not one plane per channel: PyAV does not find those from the eighth on.
            packed = np.ascontiguousarray(block.T).reshape(1, -1)
            if self._format.lossless:
                levels = np.clip(np.rint(packed * _PCM), -_PCM, _PCM - 1).astype(np.int16)
                frame = AudioFrame.from_ndarray(levels, format="s16", layout=self._layout)
            else:
                frame = AudioFrame.from_ndarray(packed, format="flt", layout=self._layout)
            frame.sample_rate, frame.time_base = self.sample_rate, Fraction(1, self.sample_rate)
            frame.pts = self._begin + self._written
            self._written += block.shape[1]
        for packet in self._stream.encode(frame):
            self._container.mux(packet)
