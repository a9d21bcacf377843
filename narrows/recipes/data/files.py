"""Media files of training data, decoded on first use."""

from abc import abstractmethod
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from narrows.errors import InputError

KEPT_BYTES = 4 << 30  # decoded media held in memory; what is beyond is read anew each time


class MediaFiles(Dataset[NDArray[Any]]):
    """The files below a folder that have one of the suffixes. Raises InputError where there are none."""

    def __init__(self, folder: str | Path, suffixes: Collection[str], kind: str) -> None:
        self.paths = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in suffixes)
        if not self.paths:
            raise InputError(f"no {kind} below {folder}; give a folder with {', '.join(sorted(suffixes))}")
        self._kept: dict[int, NDArray[Any]] = {}
        self._bytes = 0

    @abstractmethod
    def read(self, path: Path) -> NDArray[Any]:
        """One file as it is kept in memory."""

    def __len__(self) -> int:
        return len(self.paths)

    def shuffled(self) -> list[int]:
        """All indices in an order that is the same each time: any few of the first are from all over the folder."""
        order: list[int] = np.random.default_rng(0).permutation(len(self)).tolist()
        return order

    def __getitem__(self, index: int) -> NDArray[Any]:
        """What `read` makes of a file."""
        if index in self._kept:
            return self._kept[index]
        array = self.read(self.paths[index])
        if self._bytes + array.nbytes <= KEPT_BYTES:
            self._kept[index] = array
            self._bytes += array.nbytes
        return array
