"""Training data from folders of sound files: random crops, a little varied."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from narrows.media import audio as media
from narrows.recipes.data.files import MediaFiles

LOUDEST = 0.98  # full scale is left to the last step


class Recordings(MediaFiles):
    """The sound files below a folder, as mono float32 at `sample_rate` Hz, decoded on first use.

    Raises InputError for a folder without sound files.
    """

    def __init__(self, folder: str | Path, sample_rate: int) -> None:
        super().__init__(folder, media.SUFFIXES, "sound files")
        self.sample_rate = sample_rate
        self.seconds = [media.probe(path).seconds for path in self.paths]

    def read(self, path: Path) -> NDArray[np.int16]:
        """Samples (T,) of one file, 16 bits."""
        audio = media.read(path)
        mono = audio.samples.mean(0, dtype=np.float32)
        if audio.sample_rate != self.sample_rate:
            mono = soxr.resample(mono, audio.sample_rate, self.sample_rate)
        rounded: NDArray[np.int16] = np.clip(np.round(mono * 32768), -32768, 32767).astype(np.int16)
        return rounded

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        """Samples (T,) of one file."""
        samples: NDArray[np.float32] = super().__getitem__(index) * np.float32(1 / 32768)
        return samples


class Crops(Dataset[Tensor]):
    """`count` random crops (1, samples) of some recordings; item i is the same for the same seed.

    Longer files are drawn more often. Each crop has a random sign and a random gain; `speeds` are played-back rates
    drawn at random, which raise and lower voices.
    """

    def __init__(
        self, recordings: Recordings, samples: int, count: int, seed: Sequence[int], speeds: Sequence[float] = (1.0,)
    ) -> None:
        self.recordings, self.samples, self.count = recordings, samples, count
        self.seed, self.speeds = tuple(seed), tuple(speeds)
        self._chance = np.array(recordings.seconds) / sum(recordings.seconds)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Tensor:
        """Crop (1, samples)."""
        draw = np.random.default_rng((*self.seed, index))
        recording = self.recordings[int(draw.choice(len(self._chance), p=self._chance))]
        speed = float(draw.choice(self.speeds))
        wanted = int(np.ceil(self.samples * speed)) + 1
        start = int(draw.integers(max(1, len(recording) - wanted)))
        crop = recording[start : start + wanted]
        if speed != 1:
            crop = soxr.resample(crop, self.recordings.sample_rate * speed, self.recordings.sample_rate)
        crop = np.pad(crop[: self.samples], (0, max(0, self.samples - len(crop))))
        gain = min(10 ** (draw.uniform(-10, 6) / 20), LOUDEST / max(float(np.abs(crop).max()), 1e-4))
        return torch.from_numpy(np.float32(gain * draw.choice((-1, 1))) * crop.astype(np.float32)).unsqueeze(0)
