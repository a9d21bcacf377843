"""Training data of video: random crops of clips, several of each stretch of frames that is decoded.

file ─▶ seek to a random place ─▶ a stretch: consecutive frames, a random window of each ─▶ crops (3, T, size, size)
"""

from collections.abc import Sequence
from fractions import Fraction
from itertools import islice
from math import isqrt

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from narrows.errors import MediaError
from narrows.media import video as media
from narrows.media.files import Source
from narrows.recipes.data.crops import RandomCrops
from narrows.recipes.data.files import MediaFiles

MAX_FRAMES = 64  # of a clip that is used whole, and of a stretch unless a crop has more
STRETCHES = 16  # that crops are drawn from at a time, and that each process keeps
STRETCH_BYTES = 32 << 20  # of one, unless a single crop has more
CROPS = 24  # of each stretch
WINDOW = 3  # largest sides of a stretch, in sides of a crop
DOWNSCALED = 2.0  # largest side of the region that is downscaled to a crop, in sides of a crop
FAST = 0.15  # fraction of crops that take every second frame
USUAL_RATE = 25  # frames per second of clips that state none


class VideoFiles(MediaFiles):
    """The clips of one source or several.

    Args:
        sources: folder, glob pattern or file, or several; see MediaFiles.

    Raises:
        InputError: For a source without clips, and where none can be read.
    """

    medium = media.MEDIUM

    def measure(self, source: Source) -> float:
        """Number of pixels of all frames of a clip."""
        return media.MEDIUM.amount_of(source)

    def check(self, source: Source) -> NDArray[np.uint8]:
        """The first frame (3, H, W) of a clip."""
        return next(media.frames(source)).pixels

    def read(self, source: Source, frames: int = MAX_FRAMES) -> NDArray[np.uint8]:
        """RGB pixels (3, T, H, W) of the first frames of a clip, 64 at most unless more are asked for."""
        return np.stack([frame.pixels for frame in islice(media.frames(source), frames)], 1)

    def read_stretch(
        self, source: Source, frames: int, side: int, place: tuple[float, float, float]
    ) -> NDArray[np.uint8]:
        """Consecutive frames (F, h, w, 3) of a clip, and a window of each.

        Args:
            source: the clip.
            frames: number of frames F; a shorter clip has fewer.
            side: height and width of the window; smaller frames are whole.
            place: of the stretch in time, and of the window in height and width; each from 0, the first possible
                place, to 1, the last one.
        """
        with media.VideoReader(source) as reader:
            found = _stretch(reader, reader.info.duration, frames, side, place)
            if len(found) < frames:  # the header has no duration, or that of a longer sound track
                found = _stretch(reader, reader.counted().duration, frames, side, place)
        if not found:
            raise MediaError("expected frames, got none at this place; the file may be shorter than it says")
        return np.stack(found)


class VideoCrops(RandomCrops):
    """Random crops of clips. A crop depends only on seed and index.

    A clip is drawn with a probability in proportion to its pixels, as far as their number is known from the size of the
    file. Since decoding takes far longer than cropping, a stretch of up to 64 frames is decoded, of which a window of
    up to three times the size of a crop is kept, for 24 crops on average. At any time crops are drawn from 16
    stretches, of which one is replaced after every 24 crops. Each process that loads data decodes and keeps all of
    them, in up to 512 MiB.

    Half of the crops are downscaled by a factor of 1 to 2, which hides artefacts of earlier compression, and half are
    mirrored. 15 % take every second frame, for faster motion. Clips that are shorter go forward and backward in turn;
    smaller frames are padded with their mirror image.

    Args:
        videos: Clips to draw from.
        frames: Number of frames T of a crop.
        size: Height and width of a crop in pixels.
        count: Number of crops.
        seed: Integers that seed the random draws.
    """

    def __init__(self, videos: VideoFiles, frames: int, size: int, count: int, seed: Sequence[int]) -> None:
        super().__init__(count, seed)
        self.videos, self.frames, self.size = videos, frames, size
        self._stretches = dict[int, tuple[tuple[int, ...], tuple[NDArray[np.uint8], int]]]()

    def drawn(self, index: int) -> tuple[Tensor, int]:
        """Crop (3, T, size, size), float32 in [-1, 1], and its clip."""
        rng = np.random.default_rng((*self.seed, index))
        (stretch, clip), size = self._stretch(index, int(rng.integers(STRETCHES))), self.size
        stretch = stretch[self._times(len(stretch), rng)]
        _, height, width, _ = stretch.shape
        if min(height, width) < size:
            padding = [(0, max(0, size - side)) for side in (height, width)]
            stretch = np.pad(stretch, ((0, 0), *padding, (0, 0)), mode="symmetric")
            _, height, width, _ = stretch.shape
        largest = min(DOWNSCALED, min(height, width) / size) if rng.random() < 0.5 else 1.0
        region = int(size * rng.uniform(1.0, largest))
        top, left = (int(rng.integers(side - region + 1)) for side in (height, width))
        crop = stretch[:, top : top + region, left : left + region]
        if region != size:
            crop = np.stack([_resized(frame, size) for frame in crop])
        crop = crop[:, :, ::-1] if rng.random() < 0.5 else crop
        return torch.from_numpy(np.ascontiguousarray(crop.transpose(3, 0, 1, 2))).float() / 127.5 - 1, clip

    def _stretch(self, index: int, slot: int) -> tuple[NDArray[np.uint8], int]:
        """The frames (F, h, w, 3) that one of 16 places holds when a crop is drawn from it, and their clip."""
        batches, place = divmod(index, self.batch_size)
        step, rank = divmod(batches, self.ranks)
        number = (step * self.batch_size + place + slot * CROPS) // (STRETCHES * CROPS)
        key = rank, slot, number
        if slot not in self._stretches or self._stretches[slot][0] != key:
            self._stretches.pop(slot, None)
            rng = np.random.default_rng((*self.seed, *key))
            side, frames = self._stretch_size()
            found = self.videos.draw(
                rng, (*self.seed, rank, number), lambda item: (self._decoded(item, frames, side, rng), item)
            )
            self._stretches[slot] = key, found
        return self._stretches[slot][1]

    def _decoded(self, item: int, frames: int, side: int, rng: np.random.Generator) -> NDArray[np.uint8]:
        places = rng.random(), rng.random(), rng.random()
        return self.videos.read_stretch(self.videos.source(item), frames, side, places)

    def _stretch_size(self) -> tuple[int, int]:
        """Largest height and width, and number of frames, of a stretch: more of both for small crops."""
        side = WINDOW * self.size
        frames = max(self.frames, min(MAX_FRAMES, STRETCH_BYTES // (3 * side**2)))
        return max(self.size, min(side, isqrt(STRETCH_BYTES // (3 * frames)))), frames

    def _times(self, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
        """Indices of the frames of a crop in a stretch of `count` frames."""
        step = 2 if rng.random() < FAST and count > 2 * (self.frames - 1) else 1
        first = int(rng.integers(max(0, count - step * (self.frames - 1) - 1) + 1))
        times = first + step * np.arange(self.frames)
        period = max(1, 2 * (count - 1))  # 0 1 2 1 0 1 2 1 ... for a stretch of three frames
        return (count - 1) - abs(times % period - (count - 1))


def _stretch(
    reader: media.VideoReader,
    duration: Fraction | None,
    frames: int,
    side: int,
    place: tuple[float, float, float],
) -> list[NDArray[np.uint8]]:
    """The frames (h, w, 3) of a stretch of a clip of a duration; see `VideoFiles.read_stretch`."""
    info = reader.info
    start = Fraction(place[0]) * max(Fraction(0), (duration or Fraction(0)) - frames / (info.rate or USUAL_RATE))
    top, left = (round(x * max(0, size - side)) for x, size in zip(place[1:], (info.height, info.width), strict=True))
    return [
        np.ascontiguousarray(frame.pixels[:, top : top + side, left : left + side].transpose(1, 2, 0))
        for frame in islice(reader.frames(start), frames)
    ]


def _resized(frame: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """A frame (h, h, 3) as (size, size, 3)."""
    image = Image.fromarray(np.ascontiguousarray(frame)).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(image)
