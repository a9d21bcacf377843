"""The description of a medium that the rest of the library uses; table.py lists all media."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from narrows.media.extents import Extent
from narrows.media.files import Source, StrPath


class Signal(ABC):
    """A decoded signal in memory: `audio.Audio` or `image.Image`.

    Attributes:
        medium: Name of the medium.
    """

    medium: ClassVar[str]

    @property
    @abstractmethod
    def extent(self) -> Extent:
        """Its size."""

    @property
    @abstractmethod
    def array(self) -> NDArray[np.generic]:
        """Its values (C, *signal)."""

    @abstractmethod
    def with_array(self, array: NDArray[np.generic]) -> Self:
        """A signal of the same kind and rate with other values (C, *signal)."""

    @property
    def amount(self) -> float:
        """Seconds of audio, pixels of an image."""
        return self.extent.amount


class Info(Protocol):
    """What the header of a file says."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What reading the file leaves out, one line each."""


class Reader(Protocol):
    """An open file of a medium, a context manager. Opening raises MediaError for a file that cannot be read."""

    @property
    def info(self) -> Info:
        """What the header of the file says."""

    def close(self) -> None:
        """Close the file."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...


@dataclass(frozen=True)
class Medium:
    """A kind of signal: its files, its size and the units that it is measured in.

    Attributes:
        name: "audio" or "image".
        files: what its files are called in messages.
        extent: the class of its extents.
        suffixes: the files that are looked for in folders. A file is recognised by its content, not by its suffix.
        default_suffix: of decoded files.
        default_model: name of the model that `codec encode` uses.
        open: opens a file for reading.
        amount_of: seconds or pixels in a file; raises MediaError as `open` does.
        read: a whole file.
        write: path, signal and whether an existing file may be replaced.
        check_suffix: raises InputError for the path of an output whose suffix names no format.
        rate_unit, rate_key: of the rate in text, and as a key of JSON.
        rate_divisor: bits per unit of amount in one `rate_unit`.
        speed_unit, speed_divisor: amount per second in one `speed_unit`.
        total_unit, total_divisor: amount in the unit of totals over many files.
        amount_unit: of the amount itself.
        minute: the amount that data sets count as one minute.
        amount_per_byte: typical amount in one byte of a file, where nothing better is known.
        min_amount: the least amount that an item counts for, since opening a file takes time too.
    """

    name: str
    files: str
    extent: type[Extent]
    suffixes: frozenset[str]
    default_suffix: str
    default_model: str
    open: Callable[[Source], Reader]
    amount_of: Callable[[Source], float]
    read: Callable[[Source], Signal]
    write: Callable[[StrPath, Signal, bool], None]
    check_suffix: Callable[[StrPath], object]
    rate_unit: str
    rate_key: str
    rate_divisor: float
    speed_unit: str
    speed_divisor: float
    total_unit: str
    total_divisor: float
    amount_unit: str
    minute: float
    amount_per_byte: float
    min_amount: float

    def rate(self, num_bytes: float, amount: float) -> float:
        """The rate, in `rate_unit`, of so many bytes for an amount of signal."""
        return 8 * num_bytes / amount / self.rate_divisor

    def speed(self, amount: float, seconds: float) -> float:
        """The speed, in `speed_unit`, of work on an amount of signal that took so many seconds."""
        return amount / max(seconds, 1e-9) / self.speed_divisor

    def has_suffix(self, path: StrPath) -> bool:
        """Whether a path has one of the suffixes."""
        return Path(path).suffix.lower() in self.suffixes
