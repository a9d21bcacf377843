"""Media files of training data, which are decoded on first use and kept in memory up to a limit.

Files that cannot be read are left out: `codec train` names them in one line, and goes on with the others.
"""

import logging
from abc import abstractmethod
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset, IterableDataset

from narrows.codecs import distributed as ranks
from narrows.errors import InputError, NarrowsError
from narrows.media.folders import find_files

CACHE_BYTES = 4 << 30  # bytes of decoded media in memory; further files are decoded at each access
MAX_NAMED = 5  # files that a message names
logger = logging.getLogger(__name__)


class MediaFiles(Dataset[NDArray[Any]]):
    """The files with given suffixes in a folder and its subfolders, sorted by path.

    Args:
        folder: Folder to search.
        suffixes: Suffixes in lower case, with the dot.
        kind: Word for the files in messages.

    Raises:
        InputError: For a folder without such files, or with unreadable ones only.

    Attributes:
        paths: Files whose headers can be read.
        sizes: Sizes of their content, all above 0, as `measure` returns them.
    """

    def __init__(self, folder: str | Path, suffixes: Collection[str], kind: str) -> None:
        found = [Path(file.path) for file in find_files(folder, suffixes)]
        if not found:
            raise InputError(f"expected {kind} in {folder}, got none; give a folder with {', '.join(sorted(suffixes))}")
        self.paths: list[Path] = []
        self.sizes: list[float] = []
        refused: list[tuple[Path, str]] = []
        for path in found:
            try:
                size = self.measure(path)
            except NarrowsError as error:
                refused.append((path, str(error)))
                continue
            if size > 0:
                self.paths.append(path)
                self.sizes.append(size)
            else:
                refused.append((path, f"{path} is empty"))
        if not self.paths:
            raise InputError(
                f"expected {kind} that can be read in {folder}, got {len(found)} that cannot: {refused[0][1]}"
            )
        if refused and ranks.is_launched_first():
            names = ", ".join(path.name for path, _ in refused[:MAX_NAMED]) + ", ..." * (len(refused) > MAX_NAMED)
            message = "skipped %d of %d %s in %s (%s): %s"
            logger.warning(message, len(refused), len(found), kind, folder, names, refused[0][1])
        self._p = np.array(self.sizes) / sum(self.sizes)
        self._cache: dict[int, NDArray[Any]] = {}
        self._cached_bytes = 0
        self._unreadable: set[int] = set()

    @abstractmethod
    def measure(self, path: Path) -> float:
        """Size of one file's content, read from its header; files are drawn in proportion to it."""

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

    def readable(self, indices: Iterable[int]) -> Iterator[tuple[int, NDArray[Any]]]:
        """Indices and decoded contents of files. Files that cannot be decoded are left out, and named once."""
        for index in indices:
            if index in self._unreadable:
                continue
            try:
                array = self[index]
            except NarrowsError as error:
                self._unreadable.add(index)
                logger.warning("skipped %s: %s", self.paths[index].name, error)
                continue
            yield index, array

    def draw(self, rng: np.random.Generator) -> NDArray[Any]:
        """The decoded content of a random file, drawn with a probability in proportion to its size.

        Raises:
            InputError: If no file can be decoded.
        """
        while len(self._unreadable) < len(self):
            for _, array in self.readable([int(rng.choice(len(self), p=self._p))]):
                return array
        raise InputError(f"expected a file that can be decoded beside {self.paths[0]}, got none; give other data")


class WholeFiles(IterableDataset[NDArray[Any]]):
    """The decoded contents of this rank's share of files, for validation.

    Args:
        files: Files of all ranks.
    """

    def __init__(self, files: MediaFiles) -> None:
        self.files = files

    def __iter__(self) -> Iterator[NDArray[Any]]:
        for _, array in self.files.readable(range(ranks.rank(), len(self.files), ranks.count())):
            yield array
