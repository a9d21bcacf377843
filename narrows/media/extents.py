"""The size of a signal: what `decode` must give back, to the sample, the pixel and the frame."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any, ClassVar, Self

from narrows.errors import InputError, shortened

MAX_CHANNELS = 255
MAX_SIDE = 2**24  # height or width of an image
MAX_RATE = 2**31 - 1  # sample rate in Hz, or either part of a frame rate
MAX_COUNT = 2**48  # samples, video frames, positions along a grid axis


def check_integer(value: object, limit: int, what: str) -> None:
    """Raise InputError unless `value` is an int (not a bool, not a NumPy scalar) from 1 to `limit`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"expected {what} as an integer, got {shortened(value)}; convert it with int()")
    if not 1 <= value <= limit:
        raise InputError(f"expected {what} from 1 to {limit}, got {shortened(value)}")


class Extent(ABC):
    """Integers that say how large a signal is; subclasses are frozen dataclasses.

    Attributes:
        medium: name of the medium.
        axes: number of axes of the signal, and of its latent grid.
        grid_names: names of the axes of the latent grid, as columns of data sets.
        limits: the largest value of each field.
    """

    medium: ClassVar[str]
    axes: ClassVar[int]
    grid_names: ClassVar[tuple[str, ...]]
    limits: ClassVar[tuple[int, ...]]
    __dataclass_fields__: ClassVar[dict[str, Any]]  # as of every dataclass, for type checkers

    channels: int

    def __post_init__(self) -> None:
        for field, limit in zip(fields(self), self.limits, strict=True):
            check_integer(getattr(self, field.name), limit, f"{field.name} of the {self.medium}")

    @classmethod
    @abstractmethod
    def of_grid(cls, grid: tuple[int, ...], strides: tuple[int, ...], channels: int, rate: Fraction | int) -> Self:
        """The extent of a signal that fills a latent grid, with positions of `strides` each.

        `rate` is the sample rate in Hz of audio, and the frame rate of video.
        """

    @property
    @abstractmethod
    def size(self) -> tuple[int, ...]:
        """Samples along each axis of the signal."""

    @property
    @abstractmethod
    def amount(self) -> float:
        """Seconds of audio, pixels of an image or of all frames of a video."""

    @property
    def seconds(self) -> float | None:
        """Duration; None for an image."""
        return None

    @property
    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Properties for users by name, as JSON values."""


@dataclass(frozen=True)
class AudioExtent(Extent):
    """`samples` per channel at `sample_rate` Hz. The latent grid is (F,)."""

    medium: ClassVar[str] = "audio"
    axes: ClassVar[int] = 1
    grid_names: ClassVar[tuple[str, ...]] = ("frames",)
    limits: ClassVar[tuple[int, ...]] = (MAX_RATE, MAX_COUNT, MAX_CHANNELS)

    sample_rate: int
    samples: int
    channels: int

    @classmethod
    def of_grid(cls, grid: tuple[int, ...], strides: tuple[int, ...], channels: int, rate: Fraction | int) -> Self:
        """See `Extent.of_grid`."""
        return cls(int(rate), grid[0] * strides[0], channels)

    @property
    def size(self) -> tuple[int, ...]:
        """(samples,)."""
        return (self.samples,)

    @property
    def amount(self) -> float:
        """Seconds."""
        return self.seconds

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.samples / self.sample_rate

    @property
    def facts(self) -> dict[str, Any]:
        """Duration, rate and channels."""
        return {"seconds": round(self.seconds, 3), "sample_rate": self.sample_rate, "channels": self.channels}

    def __str__(self) -> str:
        return f"{self.seconds:.2f} s"


@dataclass(frozen=True)
class ImageExtent(Extent):
    """Size in pixels. The latent grid is (H, W)."""

    medium: ClassVar[str] = "image"
    axes: ClassVar[int] = 2
    grid_names: ClassVar[tuple[str, ...]] = ("grid_height", "grid_width")
    limits: ClassVar[tuple[int, ...]] = (MAX_SIDE, MAX_SIDE, MAX_CHANNELS)

    height: int
    width: int
    channels: int

    @classmethod
    def of_grid(cls, grid: tuple[int, ...], strides: tuple[int, ...], channels: int, rate: Fraction | int) -> Self:
        """See `Extent.of_grid`."""
        return cls(grid[0] * strides[0], grid[1] * strides[1], channels)

    @property
    def size(self) -> tuple[int, ...]:
        """(height, width)."""
        return self.height, self.width

    @property
    def amount(self) -> float:
        """Pixels."""
        return float(self.height * self.width)

    @property
    def facts(self) -> dict[str, Any]:
        """Width, height and channels."""
        return {"width": self.width, "height": self.height, "channels": self.channels}

    def __str__(self) -> str:
        return f"{self.width} × {self.height}"


@dataclass(frozen=True)
class VideoExtent(Extent):
    """Frames, their size in pixels, and rate / rate_base frames per second. The latent grid is (T, H, W)."""

    medium: ClassVar[str] = "video"
    axes: ClassVar[int] = 3
    grid_names: ClassVar[tuple[str, ...]] = ("grid_frames", "grid_height", "grid_width")
    limits: ClassVar[tuple[int, ...]] = (MAX_COUNT, MAX_SIDE, MAX_SIDE, MAX_CHANNELS, MAX_RATE, MAX_RATE)

    frames: int
    height: int
    width: int
    channels: int
    rate: int
    rate_base: int

    @classmethod
    def of_grid(cls, grid: tuple[int, ...], strides: tuple[int, ...], channels: int, rate: Fraction | int) -> Self:
        """See `Extent.of_grid`. The first latent frame stands for one frame, the others for `strides[0]` each."""
        frames = 1 + (grid[0] - 1) * strides[0]
        return cls(frames, grid[1] * strides[1], grid[2] * strides[2], channels, *rate.as_integer_ratio())

    @property
    def size(self) -> tuple[int, ...]:
        """(frames, height, width)."""
        return self.frames, self.height, self.width

    @property
    def amount(self) -> float:
        """Pixels of all frames."""
        return float(self.frames * self.height * self.width)

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.frames * self.rate_base / self.rate

    @property
    def facts(self) -> dict[str, Any]:
        """Duration, size, frame rate and channels."""
        return {
            "seconds": round(self.seconds, 3),
            "width": self.width,
            "height": self.height,
            "frames_per_second": self.rate / self.rate_base,
            "channels": self.channels,
        }

    def __str__(self) -> str:
        return f"{self.seconds:.2f} s  {self.width} × {self.height}"
