"""Training data from folders of pictures: random crops, a little varied."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from narrows.media import image as media
from narrows.recipes.data.files import MediaFiles

SHRUNK, ENLARGED = (1.0, 2.0), (0.65, 1.0)  # sides of what a crop is taken from, before it is scaled, in sides


class Pictures(MediaFiles):
    """The pictures below a folder, (H, W, 3) uint8, decoded on first use. Raises InputError where there are none."""

    def __init__(self, folder: str | Path) -> None:
        super().__init__(folder, media.SUFFIXES, "pictures")
        self.sizes = [media.probe(path).pixels for path in self.paths]

    def read(self, path: Path) -> NDArray[np.uint8]:
        """Pixels (H, W, 3) of one file."""
        pixels = media.read(path)
        return np.repeat(pixels, 3, 2) if pixels.shape[2] == 1 else pixels


class PictureCrops(Dataset[Tensor]):
    """`count` random crops (3, side, side) in [-1, 1] of some pictures; item i is the same for the same seed.

    Larger pictures are drawn more often. Crops are mirrored and transposed at random; three in ten are made smaller,
    which hides the traces of earlier compression, and two larger, as soft as pictures of many pixels are.
    """

    def __init__(self, pictures: Pictures, side: int, count: int, seed: Sequence[int]) -> None:
        self.pictures, self.side, self.count, self.seed = pictures, side, count, tuple(seed)
        self._chance = np.array(pictures.sizes) / sum(pictures.sizes)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Tensor:
        """Crop (3, side, side)."""
        draw = np.random.default_rng((*self.seed, index))
        pixels = self.pictures[int(draw.choice(len(self._chance), p=self._chance))]
        most = min(pixels.shape[:2]) / self.side
        if most < 1:
            pixels = np.pad(pixels, [(0, max(0, self.side - n)) for n in pixels.shape[:2]] + [(0, 0)], mode="symmetric")
        kind = draw.random()
        low, high = (1.0, 1.0) if kind < 0.5 else SHRUNK if kind < 0.8 else ENLARGED
        taken = int(self.side * draw.uniform(low, min(high, max(1.0, most))))
        top, left = (int(draw.integers(n - taken + 1)) for n in pixels.shape[:2])
        crop = pixels[top : top + taken, left : left + taken]
        if taken != self.side:
            crop = np.asarray(Image.fromarray(crop).resize((self.side, self.side), Image.Resampling.BICUBIC))
        crop = crop[:, ::-1] if draw.random() < 0.5 else crop
        crop = crop.transpose(1, 0, 2) if draw.random() < 0.25 else crop
        return torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1))).float() / 127.5 - 1
