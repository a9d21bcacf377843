"""Training data of images: random crops with random scale, mirroring and transposition."""

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from narrows.media import image as media
from narrows.media.files import Source
from narrows.recipes.data.crops import RandomCrops
from narrows.recipes.data.files import MediaFiles, Sources

CACHE_BYTES = 512 << 20  # of decoded images in each process
DOWNSCALED, UPSCALED = (1.0, 2.0), (0.65, 1.0)  # side of the cut region in crop sizes, before it is scaled


class ImageFiles(MediaFiles):
    """The images of one source or several, (3, H, W) uint8. The last ones are kept, up to 512 MiB in each process.

    Args:
        sources: folder, glob pattern or file, or several; see MediaFiles.

    Raises:
        InputError: For a source without images, and where none can be read.
    """

    medium = media.MEDIUM

    def __init__(self, sources: Sources) -> None:
        self._cache = OrderedDict[int, NDArray[np.uint8]]()
        self._cached = 0  # bytes
        super().__init__(sources)

    def measure(self, source: Source) -> float:
        """Number of pixels of an image."""
        return media.probe(source).pixels

    def check(self, source: Source) -> NDArray[np.uint8]:
        """The whole image."""
        return self.read(source)

    def read(self, source: Source) -> NDArray[np.uint8]:
        """RGB pixels (3, H, W) of an image."""
        pixels = media.read_opaque(source).pixels
        return np.repeat(pixels, 3, 0) if len(pixels) == 1 else pixels

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """An image as `read` returns it."""
        if index in self._cache:
            self._cache.move_to_end(index)
            return self._cache[index]
        pixels = self._cache[index] = self.read(self.source(index))
        self._cached += pixels.nbytes
        while self._cached > CACHE_BYTES:
            self._cached -= self._cache.popitem(last=False)[1].nbytes
        return pixels


class ImageCrops(RandomCrops):
    """Random square crops of images. A crop depends only on seed and index.

    An image is drawn with a probability in proportion to its pixels, as far as their number is known from the size of
    the file. Half of the crops keep their scale; 30 % are
    downscaled, which hides artefacts of earlier compression; 20 % are upscaled, to resemble soft images of high
    resolution. Half are mirrored and a quarter transposed. Smaller images are padded with their mirror image.

    Args:
        images: Images to draw from.
        size: Height and width of a crop in pixels.
        count: Number of crops.
        seed: Integers that seed the random draws.
    """

    def __init__(self, images: ImageFiles, size: int, count: int, seed: Sequence[int]) -> None:
        super().__init__(count, seed)
        self.images, self.size = images, size

    def drawn(self, index: int) -> tuple[Tensor, int]:
        """Crop (3, size, size), float32 in [-1, 1], and its image."""
        rng = np.random.default_rng((*self.seed, index))
        pixels, image = self.images.draw(rng, self.turn(index), lambda item: (self.images[item], item))
        largest = min(pixels.shape[1:]) / self.size
        if largest < 1:
            padding = [(0, 0)] + [(0, max(0, self.size - side)) for side in pixels.shape[1:]]
            pixels = np.pad(pixels, padding, mode="symmetric")
        draw = rng.random()
        low, high = (1.0, 1.0) if draw < 0.5 else DOWNSCALED if draw < 0.8 else UPSCALED
        region = int(self.size * rng.uniform(low, min(high, max(1.0, largest))))
        top, left = (int(rng.integers(side - region + 1)) for side in pixels.shape[1:])
        crop = pixels[:, top : top + region, left : left + region]
        if region != self.size:
            scaled = Image.fromarray(np.ascontiguousarray(crop.transpose(1, 2, 0))).resize(
                (self.size, self.size), Image.Resampling.BICUBIC
            )
            crop = np.asarray(scaled).transpose(2, 0, 1)
        crop = crop[:, :, ::-1] if rng.random() < 0.5 else crop
        crop = crop.transpose(0, 2, 1) if rng.random() < 0.25 else crop
        return torch.from_numpy(np.ascontiguousarray(crop)).float() / 127.5 - 1, image
