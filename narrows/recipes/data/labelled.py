"""Images with labels: the label is a column of the source, or the name of the folder that a file lies in."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from narrows.codecs import distributed as ranks
from narrows.errors import InputError, NarrowsError, shortened
from narrows.media.files import Source
from narrows.media.image.resize import Resize
from narrows.recipes.data.files import MAX_TRIES, MAX_WHOLE, NothingReadable, Sources
from narrows.recipes.data.images import ImageFiles
from narrows.recipes.data.labels import labels_of


class LabelledImages(ImageFiles):
    """The images of one source or several, (3, size, size) uint8, with the numbers of their classes.

    Args:
        sources: folder, glob pattern or file, or several; see MediaFiles.
        size: height and width in pixels; images of other sizes are resized and cropped to the centre.
        label: the column of the labels; see `labels_of`.
        names: names of the classes, where the labels have to be some of these; None for all labels, sorted.

    Raises:
        InputError: for a label that is not in `names`, for items of one label alone, and as ImageFiles does.

    Attributes:
        names: names of the classes, sorted.
        labels: (N,) number of the class of each image.
    """

    def __init__(self, sources: Sources, size: int, label: str = "label", names: Sequence[str] | None = None) -> None:
        self._resize = Resize(size)
        super().__init__(sources)
        labels = labels_of(self, label)
        self.names = tuple(sorted(set(labels)) if names is None else names)
        numbers = {name: number for number, name in enumerate(self.names)}
        if unknown := sorted(set(labels) - set(numbers)):
            raise InputError(
                f"expected labels of the training images in {', '.join(self.listing.sources)}, got "
                f"{shortened(unknown[0])}; remove these images, or add training images of them"
            )
        self.labels = np.array([numbers[name] for name in labels])

    def read(self, source: Source) -> NDArray[np.uint8]:
        """RGB pixels (3, size, size) of an image."""
        pixels = super().read(source)
        return pixels if pixels.shape[1:] == (self._resize.size,) * 2 else self._resize(pixels)

    def draw_of(self, indices: NDArray[np.int64], rng: np.random.Generator) -> tuple[Tensor, int]:
        """A random image of these, all with one probability, (3, size, size) in [-1, 1], and its class.

        Raises InputError if many images in a row cannot be read.
        """
        for _ in range(MAX_TRIES):
            index = int(indices[rng.integers(len(indices))])
            try:
                return as_input(self[index]), int(self.labels[index])
            except NarrowsError as error:
                self._skip(index, error)
        raise NothingReadable(f"expected images that can be read in {', '.join(self.listing.sources)}, got none")


class LabelledBatches(Dataset[tuple[Tensor, int]]):
    """Images drawn at random with their classes; each depends on the seed and its number alone.

    Args:
        images: images to draw from.
        count: number of draws.
        seed: integers that seed the random draws.
        classes_at: returns the classes of which draw number i is; None for all.
    """

    def __init__(
        self,
        images: LabelledImages,
        count: int,
        seed: Sequence[int],
        classes_at: Callable[[int], Sequence[int] | None] = lambda _: None,
    ) -> None:
        self.images, self.count, self.seed, self.classes_at = images, count, tuple(seed), classes_at
        self._all = np.arange(len(images))
        self._of_class = [np.flatnonzero(images.labels == number) for number in range(len(images.names))]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """An image (3, size, size) float32 in [-1, 1], and its class."""
        rng = np.random.default_rng((*self.seed, index))
        classes = self.classes_at(index)
        indices = self._all if classes is None else np.concatenate([self._of_class[number] for number in classes])
        return self.images.draw_of(indices, rng)


class LabelledItems(IterableDataset[tuple[Tensor, int]]):
    """This rank's share of labelled images, for validation: of all, or of 1000 drawn from more.

    Args:
        images: images of all ranks.
    """

    def __init__(self, images: LabelledImages) -> None:
        self.images = images

    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        indices = np.sort(self.images.shuffled()[:MAX_WHOLE])
        for index, pixels in self.images.readable(indices[ranks.rank() :: ranks.count()]):
            yield as_input(pixels), int(self.images.labels[index])


def as_input(pixels: NDArray[np.uint8]) -> Tensor:
    """Pixels as networks take them: float32 in [-1, 1]."""
    return torch.from_numpy(pixels).float() / 127.5 - 1
