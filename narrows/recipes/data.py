"""Training data from folders of sound files: random crops, a little varied."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from narrows.errors import InputError
from narrows.media import audio as media

KEPT_BYTES = 4 << 30  # decoded recordings held in memory; what is beyond is read anew each time
LOUDEST = 0.98  # full scale is left to the last step


class Recordings(Dataset[NDArray[np.float32]]):
    """The sound files below a folder, as mono float32 at `sample_rate` Hz, decoded on first use.

    Raises InputError for a folder without sound files.
    """

    def __init__(self, folder: str | Path, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.paths = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in media.SUFFIXES)
        if not self.paths:
            raise InputError(f"no sound files below {folder}; give a folder with {', '.join(sorted(media.SUFFIXES))}")
        self.seconds = [media.probe(path).seconds for path in self.paths]
        self._kept: dict[int, NDArray[np.int16]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self.paths)

    def shuffled(self) -> list[int]:
        """All indices in an order that is the same each time: any few of the first are from all over the folder."""
        order: list[int] = np.random.default_rng(0).permutation(len(self)).tolist()
        return order

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        """Samples (T,) of one file."""
        if index in self._kept:
            return self._kept[index] * np.float32(1 / 32768)
        audio = media.read(self.paths[index])
        mono = audio.samples.mean(0, dtype=np.float32)
        if audio.sample_rate != self.sample_rate:
            mono = soxr.resample(mono, audio.sample_rate, self.sample_rate)
        rounded = np.clip(np.round(mono * 32768), -32768, 32767).astype(np.int16)
        if self._bytes + rounded.nbytes <= KEPT_BYTES:
            self._kept[index] = rounded
            self._bytes += rounded.nbytes
        return rounded * np.float32(1 / 32768)


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
