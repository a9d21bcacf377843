"""Base classes of signals and readers, and the description of a medium. table.py lists all media."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from narrows.media.extents import Extent
from narrows.media.files import Source, StrPath
from narrows.media.targets import Target


class Signal(ABC):
    """A decoded signal in memory: `audio.Audio`, `image.Image` or `video.Video`.

    Attributes:
        medium: Name of the medium.
    """

    medium: ClassVar[str]

    @property
    @abstractmethod
    def extent(self) -> Extent:
        """Size of the signal."""

    @property
    @abstractmethod
    def array(self) -> NDArray[np.generic]:
        """Values of the signal (C, *signal)."""

    @abstractmethod
    def with_array(self, array: NDArray[np.generic]) -> Self:
        """A new signal of the same kind and sample rate with the given values (C, *signal)."""

    @property
    def amount(self) -> float:
        """Seconds of audio, or pixels of an image or of all frames."""
        return self.extent.amount


class Info(Protocol):
    """Properties of a media file, read from its header."""

    @property
    def facts(self) -> dict[str, Any]:
        """The properties by name, as JSON values."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about content that reading skips, one line per warning."""


class Reader(ABC):
    """An open media file; use it as a context manager. Opening raises MediaError for a file that cannot be read.

    Attributes:
        damage: what is damaged and was left out so far, one line each; of video that is opened to be recovered.
    """

    damage: Sequence[str] = ()

    @property
    @abstractmethod
    def info(self) -> Info:
        """Properties of the file."""

    @property
    def fraction(self) -> float | None:
        """How much of the file is read, 0 to 1; None if this is not known, which is the default."""
        return None

    @abstractmethod
    def close(self) -> None:
        """Close the file. Closing it again has no effect."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, repr=False)
class Medium:
    """A kind of signal: its files, its size and the units that it is measured in.

    Attributes:
        name: "audio", "image" or "video".
        files: word for its files in messages.
        extent: the class of its extents.
        suffixes: suffixes that are searched for in folders. The format of a file is detected from its content.
        default_suffix: suffix of decoded files.
        default_model: name of the model that `codec encode` uses by default.
        open: opens a file for reading.
        probe: returns the properties of a file; raises MediaError as `open` does.
        amount_of: returns the seconds or pixels in a file; raises as `probe` does.
        read: reads a whole file.
        write: writes a signal; arguments are the path or file object, the signal, whether an existing file may be
            replaced, and the format, which a file object needs.
        check_target: raises InputError for an output, and a format if given, that cannot be written.
        rate_unit, rate_key: unit of the rate in text, and key of the rate in JSON.
        rate_divisor: bits per unit of amount in one `rate_unit`.
        speed_unit, speed_divisor: unit of the speed, and amount per second in one such unit.
        total_unit, total_divisor: unit of totals over many files, and amount in one such unit.
        amount_unit: unit of the amount.
        amount_per_minute: amount that counts as one minute in the size of the shards of data sets.
        amount_per_byte: typical amount in one byte of a file, used if the amount is unknown.
        min_amount: smallest amount that an item counts for, since opening a file takes time too.
    """

    name: str
    files: str
    extent: type[Extent]
    suffixes: frozenset[str]
    default_suffix: str
    default_model: str
    open: Callable[[Source], Reader]
    probe: Callable[[Source], Info]
    amount_of: Callable[[Source], float]
    read: Callable[[Source], Signal]
    write: Callable[[Target, Signal, bool, str | None], None]
    check_target: Callable[[Target, str | None], None]
    rate_unit: str
    rate_key: str
    rate_divisor: float
    speed_unit: str
    speed_divisor: float
    total_unit: str
    total_divisor: float
    amount_unit: str
    amount_per_minute: float
    amount_per_byte: float
    min_amount: float

    def __repr__(self) -> str:
        return f"Medium({self.name!r})"

    def rate(self, num_bytes: float, amount: float) -> float:
        """The rate of `num_bytes` for an amount of signal, in `rate_unit`."""
        return 8 * num_bytes / amount / self.rate_divisor

    def speed(self, amount: float, seconds: float) -> float:
        """The speed of processing an amount of signal in `seconds`, in `speed_unit`."""
        return amount / max(seconds, 1e-9) / self.speed_divisor

    def has_suffix(self, path: StrPath) -> bool:
        """Whether a path has one of the suffixes."""
        return Path(path).suffix.lower() in self.suffixes
