"""Training data of audio: random crops with random gain, polarity and speed, of which alone the samples are decoded.

file ─▶ skip to a random place ─▶ samples at its rate ─▶ channels ─▶ rate and speed ─▶ crop (C, T) ─▶ gain
"""

from collections.abc import Sequence
from math import ceil

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from narrows.errors import MediaError
from narrows.media import audio as media
from narrows.media.files import Source
from narrows.recipes.data.crops import RandomCrops
from narrows.recipes.data.files import MediaFiles, Sources

MAX_AMPLITUDE = 0.98  # largest amplitude of a crop after its random gain
MAX_SECONDS = 600  # of a recording that is used whole, and of one whose length is not known before it is decoded
MARGIN = 64  # samples around a crop, at the lower of two rates, that resampling needs


class AudioFiles(MediaFiles):
    """The recordings of one source or several, with a number of channels, at one sample rate.

    With one channel, those of a recording are averaged. With more, they are repeated in a recording that has fewer, as
    the one of a mono recording for stereo, and the first ones are taken of a recording that has more.

    Args:
        sources: folder, glob pattern or file, or several; see MediaFiles.
        sample_rate: Rate in Hz that recordings are resampled to.
        channels: Number of channels.

    Raises:
        InputError: For a source without recordings, and where none can be read.
    """

    medium = media.MEDIUM

    def __init__(self, sources: Sources, sample_rate: int, channels: int = 1) -> None:
        self.sample_rate, self.channels = sample_rate, channels
        super().__init__(sources)

    def measure(self, source: Source) -> float:
        """Length of a recording in seconds, as its header has it."""
        with media.AudioReader(source) as reader:
            samples = reader.expected_samples
        return media.probe(source).seconds if samples is None else samples / reader.sample_rate

    def check(self, source: Source) -> NDArray[np.float32]:
        """The begin of a recording."""
        return self.read(source, 1.0)

    def read(self, source: Source, seconds: float = MAX_SECONDS) -> NDArray[np.float32]:
        """Samples (C, T) of a recording in float32, from its begin, of 10 minutes at most."""
        with media.AudioReader(source) as reader:
            samples = reader.read(max(1, round(seconds * reader.sample_rate)))
        return self._converted(samples, reader.sample_rate)

    def read_crop(self, source: Source, samples: int, place: float, speed: float = 1.0) -> NDArray[np.float32]:
        """A part (C, samples) of a recording, with zeros behind one that is shorter.

        Args:
            source: the recording.
            samples: length of the part.
            place: where the part begins, from 0, the first possible place, to 1, the last one.
            speed: playback speed.
        """
        with media.AudioReader(source) as reader:
            rate = reader.sample_rate
            ratio = rate * speed / self.sample_rate  # samples of the recording for one of the crop
            needed = ceil(samples * ratio)
            total = reader.expected_samples
            decoded = None
            if total is None:
                decoded = reader.read(MAX_SECONDS * rate)
                total = decoded.shape[1]
            margin = 0 if ratio == 1 else ceil(MARGIN * max(1.0, ratio))
            start = round(place * max(0, total - needed))
            first = max(0, start - margin)
            if decoded is None:
                reader.skip(first)
                part = reader.read(start - first + needed + margin)
            else:
                part = decoded[:, first : start + needed + margin]
        crop = self._converted(part, rate * speed)[:, round((start - first) / ratio) :][:, :samples]
        return np.pad(crop, ((0, 0), (0, samples - crop.shape[1])))

    def _converted(self, samples: NDArray[np.float32], rate: float) -> NDArray[np.float32]:
        """Samples (C, T) with the channels of this object, at its sample rate."""
        if not samples.size:
            raise MediaError("expected samples, got none at this place; the file may be shorter than it says")
        if self.channels == 1:
            samples = samples.mean(0, dtype=np.float32, keepdims=True)
        elif len(samples) != self.channels:
            samples = samples[np.arange(self.channels) % len(samples)]
        if rate != self.sample_rate:
            samples = soxr.resample(samples.T, rate, self.sample_rate).T
        return np.ascontiguousarray(samples, np.float32)


class AudioCrops(RandomCrops):
    """Random crops of recordings. A crop depends only on seed and index.

    A recording is drawn with a probability in proportion to its length, as far as that is known from its size. Each
    crop gets a random polarity and a random gain of -10 to 6 dB; a random playback speed changes pitch and tempo.
    Recordings that are shorter are padded with zeros.

    Args:
        files: Recordings to draw from.
        samples: Length of a crop in samples.
        count: Number of crops.
        seed: Integers that seed the random draws.
        speeds: Playback speeds to draw from.
    """

    def __init__(
        self, files: AudioFiles, samples: int, count: int, seed: Sequence[int], speeds: Sequence[float] = (1.0,)
    ) -> None:
        super().__init__(count, seed)
        self.files, self.samples, self.speeds = files, samples, tuple(speeds)

    def drawn(self, index: int) -> tuple[Tensor, int]:
        """Crop (C, samples), float32, and its recording."""
        rng = np.random.default_rng((*self.seed, index))
        speed, place = float(rng.choice(self.speeds)), float(rng.random())
        gain, polarity = 10 ** (rng.uniform(-10, 6) / 20), rng.choice((-1, 1))
        files = self.files
        crop, recording = files.draw(
            rng, self.turn(index), lambda item: (files.read_crop(files.source(item), self.samples, place, speed), item)
        )
        gain = min(gain, MAX_AMPLITUDE / max(float(np.abs(crop).max()), 1e-4))  # silence stays silent
        return torch.from_numpy(np.float32(gain * polarity) * crop), recording
