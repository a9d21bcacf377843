"""Media files of training data, which are decoded on first use and kept in memory up to a limit."""

from abc import abstractmethod
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from narrows.errors import InputError
from narrows.media.folders import find_files

CACHE_BYTES = 4 << 30  # bytes of decoded media in memory; further files are decoded at each access


class MediaFiles(Dataset[NDArray[Any]]):
    """The files with given suffixes in a folder and its subfolders, sorted by path.

    Args:
        folder: Folder to search.
        suffixes: Suffixes in lower case, with the dot.
        kind: Word for the files in the error message.

    Raises:
        InputError: For a folder without such files.
    """

    def __init__(self, folder: str | Path, suffixes: Collection[str], kind: str) -> None:
        self.paths = [Path(file.path) for file in find_files(folder, suffixes)]
        if not self.paths:
            raise InputError(f"expected {kind} in {folder}, got none; give a folder with {', '.join(sorted(suffixes))}")
        self._cache: dict[int, NDArray[Any]] = {}
        self._cached_bytes = 0

    @abstractmethod
    def read(self, path: Path) -> NDArray[Any]:
        """Decode one file to the array that is cached."""

    def __len__(self) -> int:
        return len(self.paths)

    def shuffled(self) -> list[int]:
        """All indices in a random order that is always the same, to use only some files of the whole folder."""
        order: list[int] = np.random.default_rng(0).permutation(len(self)).tolist()
        return order

    def __getitem__(self, index: int) -> NDArray[Any]:
        """The decoded content of a file, as `read` returns it."""
        if index in self._cache:
            return self._cache[index]
        array = self.read(self.paths[index])
        if self._cached_bytes + array.nbytes <= CACHE_BYTES:
            self._cache[index] = array
            self._cached_bytes += array.nbytes
        return array
