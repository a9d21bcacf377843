"""What crops of audio, images and video share: their numbers and seeds."""

from abc import abstractmethod
from collections.abc import Sequence

from torch import Tensor
from torch.utils.data import Dataset

TURN = 1024  # successive crops of a rank that take rows of tables from the same stretches


class RandomCrops(Dataset[Tensor]):
    """Random crops, each of which depends on the seed and its number alone.

    Args:
        count: Number of crops.
        seed: Integers that seed the random draws.

    Attributes:
        batch_size, ranks: of the run, which `crop_loader` sets: ranks take rows of tables from stretches of their own.
    """

    def __init__(self, count: int, seed: Sequence[int]) -> None:
        self.count, self.seed = count, tuple(seed)
        self.batch_size = self.ranks = 1

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Tensor:
        """A crop (C, *signal), float32."""
        return self.drawn(index)[0]

    @abstractmethod
    def drawn(self, index: int) -> tuple[Tensor, int]:
        """A crop (C, *signal), float32, and the index of the item that it is from."""

    def turn(self, index: int) -> tuple[int, ...]:
        """The seed of the stretches of rows that a crop may be from, see `Listing.draw`."""
        return *self.seed, index // (TURN * self.ranks), index // self.batch_size % self.ranks
