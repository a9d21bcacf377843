"""Training data from folders of audio files: random crops with random gain, polarity and speed."""

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

MAX_AMPLITUDE = 0.98  # largest amplitude of a crop after its random gain


class AudioFiles(MediaFiles):
    """The audio files in a folder and its subfolders, mono, decoded on first use.

    Args:
        folder: Folder to search.
        sample_rate: Rate in Hz that files are resampled to.

    Raises:
        InputError: For a folder without audio files that can be read.
    """

    def __init__(self, folder: str | Path, sample_rate: int) -> None:
        super().__init__(folder, media.MEDIUM.suffixes, "audio files")
        self.sample_rate = sample_rate

    @property
    def seconds(self) -> list[float]:
        """Lengths of the files in seconds."""
        return self.sizes

    def measure(self, path: Path) -> float:
        """Length of one file in seconds."""
        return media.probe(path).seconds

    def read(self, path: Path) -> NDArray[np.int16]:
        """Samples (T,) of one file as 16-bit integers."""
        audio = media.read(path)
        mono = audio.samples.mean(0, dtype=np.float32)
        if audio.sample_rate != self.sample_rate:
            mono = soxr.resample(mono, audio.sample_rate, self.sample_rate)
        rounded: NDArray[np.int16] = np.clip(np.round(mono * 32768), -32768, 32767).astype(np.int16)
        return rounded

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        """Samples (T,) of one file, float32 in [-1, 1)."""
        samples: NDArray[np.float32] = super().__getitem__(index) * np.float32(1 / 32768)
        return samples


class AudioCrops(Dataset[Tensor]):
    """Random crops of audio files. A crop depends only on seed and index.

    A file is drawn with a probability in proportion to its length. Each crop gets a random polarity and a random gain
    of -10 to 6 dB; a random playback speed changes pitch and tempo. Shorter files are padded with zeros.

    Args:
        files: Files to draw from.
        samples: Length of a crop in samples.
        count: Number of crops.
        seed: Integers that seed the random draws.
        speeds: Playback speeds to draw from.
    """

    def __init__(
        self, files: AudioFiles, samples: int, count: int, seed: Sequence[int], speeds: Sequence[float] = (1.0,)
    ) -> None:
        self.files, self.samples, self.count = files, samples, count
        self.seed, self.speeds = tuple(seed), tuple(speeds)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Tensor:
        """Crop (1, samples), float32."""
        rng = np.random.default_rng((*self.seed, index))
        recording = self.files.draw(rng)
        speed = float(rng.choice(self.speeds))
        length = int(np.ceil(self.samples * speed)) + 1
        start = int(rng.integers(max(1, len(recording) - length)))
        crop = recording[start : start + length]
        if speed != 1:
            crop = soxr.resample(crop, self.files.sample_rate * speed, self.files.sample_rate)
        crop = np.pad(crop[: self.samples], (0, max(0, self.samples - len(crop))))
        gain = min(10 ** (rng.uniform(-10, 6) / 20), MAX_AMPLITUDE / max(float(np.abs(crop).max()), 1e-4))
        return torch.from_numpy(np.float32(gain * rng.choice((-1, 1))) * crop.astype(np.float32)).unsqueeze(0)
