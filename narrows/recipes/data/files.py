"""Media of training data, read when they are drawn; what cannot be read is counted, and others are drawn instead."""

import logging
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from os.path import basename
from pathlib import Path
from typing import Any, ClassVar, SupportsInt, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, IterableDataset

from narrows.codecs import distributed as ranks
from narrows.datasets.sources import open_item
from narrows.errors import InputError, NarrowsError
from narrows.media.files import Source, StrPath
from narrows.media.medium import Medium
from narrows.recipes.data.listing import STRETCHES, Listing

MAX_TRIES = 1000  # items in a row that cannot be read
MAX_NAMED = 5  # items that a message names
MAX_WHOLE = 1000  # items of validation data
T = TypeVar("T")
Sources = StrPath | Sequence[StrPath]
logger = logging.getLogger(__name__)


class NothingReadable(InputError):
    """No item of a source can be read. Where a process that loads data raises it, torch adds a traceback in front."""

    def __init__(self, message: str) -> None:
        super().__init__(message.rpartition(f"{NothingReadable.__qualname__}: ")[2].strip())


class MediaFiles(Dataset[NDArray[Any]]):
    """The recordings or images of one source or several, each of any kind that `codec tokenize` reads.

    They are only listed; each is opened when it is drawn. An item that cannot be read is skipped: the first one is
    reported at once, and `report_skipped` tells how many there were. Rows of tables are kept for a while, up to 128 MiB
    in each process.

    Args:
        sources: folder, glob pattern or file, or several.

    Raises:
        InputError: for a source without items, and where none can be read.

    Attributes:
        listing: the items.
    """

    medium: ClassVar[Medium]

    def __init__(self, sources: Sources) -> None:
        single = isinstance(sources, str) or not isinstance(sources, Sequence)
        given = [str(source) for source in ([sources] if single else sources)]  # type: ignore[union-attr]
        if not given:
            raise InputError(f"expected at least one source of {self.medium.files}, got none; give a folder")
        self.listing = Listing(given, self.medium, self.measure)
        self._skipped = torch.zeros(len(self), dtype=torch.uint8).share_memory_()  # also by processes that load data
        self._reported = 0
        self._rows = OrderedDict[range, list[Source | NarrowsError]]()
        self.draw(np.random.default_rng(0), (0,), lambda index: self.check(self.source(index)))

    @abstractmethod
    def measure(self, source: Source) -> float:
        """The amount of an item, seconds or pixels, from its header. Raises MediaError."""

    @abstractmethod
    def check(self, source: Source) -> object:
        """Read enough of an item to see that it can be read. Raises MediaError."""

    @abstractmethod
    def read(self, source: Source) -> NDArray[Any]:
        """A whole item, for validation, initialisation and tables. Raises MediaError."""

    def __repr__(self) -> str:
        return f"{len(self)} {self.medium.files} in {', '.join(self.listing.sources)}"

    def __len__(self) -> int:
        return len(self.listing)

    def __getitem__(self, index: int) -> NDArray[Any]:
        """An item as `read` returns it."""
        return self.read(self.source(index))

    def path(self, index: int) -> Path:
        """The file that an item is in."""
        return Path(self.listing[index].location.path)

    def found(self) -> dict[str, Any]:
        """The number of items and a digest of their locations and sizes, for the record of a run."""
        return {"items": len(self), "digest": self.listing.digest}

    def source(self, index: int) -> Source:
        """What narrows.media reads of an item: its path or bytes. Raises MediaError."""
        stretch = self.listing.stretch(index)
        if not stretch:
            return open_item(self.listing[index])
        if stretch not in self._rows:
            while len(self._rows) >= STRETCHES:
                self._rows.popitem(last=False)
            self._rows[stretch] = [self._opened(row) for row in stretch]
        self._rows.move_to_end(stretch)
        found = self._rows[stretch][index - stretch.start]
        if isinstance(found, NarrowsError):
            raise found
        return found

    def _opened(self, row: int) -> Source | NarrowsError:
        try:
            return open_item(self.listing[row])
        except NarrowsError as error:
            return error

    def draw(self, rng: np.random.Generator, turn: Sequence[int], read: Callable[[int], T]) -> T:
        """What `read` returns for the index of a random item; of another item where it raises.

        It depends on `rng`, `turn` and the items alone, not on what was read before.

        Raises:
            InputError: if many items in a row cannot be read.
        """
        for _ in range(MAX_TRIES):
            index = self.listing.draw(rng, turn)
            try:
                return read(index)
            except NarrowsError as error:
                reason = str(error)  # its traceback would keep the open file, which may have threads
                self._skip(index, error)
                if len(self) == 1:
                    break
        tried = f"{MAX_TRIES} of " if len(self) > MAX_TRIES else ""
        raise NothingReadable(
            f"expected {self.medium.files} that can be read in {', '.join(self.listing.sources)}, got {tried}"
            f"{len(self)} that cannot: {reason}"
        )

    def readable(
        self, indices: Iterable[SupportsInt], read: Callable[[int], NDArray[Any]] | None = None
    ) -> Iterator[tuple[int, NDArray[Any]]]:
        """Indices and contents of items, without those that cannot be read.

        Args:
            indices: of the items.
            read: returns the content of an item by its index; None to read all of it.
        """
        for index in map(int, indices):
            try:
                array = self[index] if read is None else read(index)
            except NarrowsError as error:
                self._skip(index, error)
                continue
            yield index, array

    def shuffled(self) -> NDArray[np.int64]:
        """All indices in a random order that is always the same, to use only some of the items."""
        return np.random.default_rng(0).permutation(len(self))

    def report_skipped(self) -> None:
        """Log a line with the number of items that could not be read, on the first rank, if there are more than before.

        All ranks call it together.
        """
        found = ranks.gather_objects(self._skipped.nonzero().flatten().numpy())
        skipped = np.unique(np.concatenate(found))
        if len(skipped) > self._reported and ranks.rank() == 0:
            names = [self._name(int(index)) for index in skipped[:MAX_NAMED]]
            more = ", ..." * (len(skipped) > MAX_NAMED)
            files, all_of = self.medium.files, ", ".join(self.listing.sources)
            message = "skipped %d of %d %s in %s that cannot be read: %s%s"
            logger.warning(message, len(skipped), len(self), files, all_of, ", ".join(names), more)
        self._reported = len(skipped)

    def _skip(self, index: int, error: NarrowsError) -> None:
        if not self._skipped.any() and ranks.is_launched_first():
            logger.warning("skipped %s: %s; others that cannot be read are counted", self._name(index), error)
        self._skipped[index] = 1

    def _name(self, index: int) -> str:
        item = self.listing[index]
        return " ".join(filter(None, (basename(item.location.path), item.key)))


class WholeFiles(IterableDataset[NDArray[Any]]):
    """The contents of this rank's share of items, for validation: of all, or of 1000 drawn from more.

    Args:
        files: Items of all ranks.
    """

    def __init__(self, files: MediaFiles) -> None:
        self.files = files

    def __iter__(self) -> Iterator[NDArray[Any]]:
        indices = np.sort(self.files.shuffled()[:MAX_WHOLE])
        for _, array in self.files.readable(indices[ranks.rank() :: ranks.count()]):
            yield array
