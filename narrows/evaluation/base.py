"""What is measured: items of one medium, operating points that code them, metrics that compare.

item ─▶ operating point ─▶ bytes on disk, decoded signal ─▶ metrics ─▶ one row of the results
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import soxr
from numpy.typing import NDArray

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


@dataclass(frozen=True)
class Sound:
    """samples (C, T) float32, full scale 1, at `rate` Hz."""

    samples: NDArray[np.float32]
    rate: int

    @property
    def amount(self) -> float:
        """Seconds."""
        return self.samples.shape[1] / self.rate

    def at(self, rate: int) -> "Sound":
        """The same at another rate in Hz, resampled by soxr (VHQ)."""
        if rate == self.rate:
            return self
        resampled = soxr.resample(self.samples.T, self.rate, rate, quality="VHQ")
        return Sound(np.ascontiguousarray(resampled.T, np.float32), rate)


@dataclass(frozen=True)
class Picture:
    """pixels (H, W, 3), 8 bits a channel, sRGB."""

    pixels: NDArray[np.uint8]

    @property
    def amount(self) -> float:
        """Pixels."""
        return float(self.pixels.shape[0] * self.pixels.shape[1])


Signal = Sound | Picture


@dataclass(frozen=True)
class Coded:
    """What an operating point made of a signal.

    signal: decoded, of the reference's kind, rate and number of channels; of its length or size but for what a codec
    adds. file_bytes: all bytes on disk. payload_bytes: those that hold the signal, without container and header, where
    they can be told apart. codes (K, n): of tokenizers with codebooks.
    """

    signal: Signal
    file_bytes: int
    payload_bytes: int | None = None
    codes: NDArray[np.int64] | None = None


class OperatingPoint(ABC):
    """A codec at one setting, such as `opus@12`: 12 kbit/s.

    family: the codec, whose points make a curve. setting: what stands behind the @, None where there is no choice.
    Points can be pickled; what is large is loaded where it is used.
    """

    medium: ClassVar[str]
    family: str
    setting: float | None

    @property
    def name(self) -> str:
        """family@setting, as it is asked for."""
        return self.family if self.setting is None else f"{self.family}@{self.setting:.10g}"

    @property
    @abstractmethod
    def key(self) -> Mapping[str, Json]:
        """All that its results depend on but the item: fingerprints of weights, options, versions of libraries."""

    @abstractmethod
    def check(self) -> None:
        """Raises Unavailable where it cannot be run here: what it needs is not installed."""

    @abstractmethod
    def encode(self, signal: Signal, folder: Path) -> Path:
        """Writes a signal to a file in `folder`. Raises NarrowsError where it cannot."""

    @abstractmethod
    def decode(self, path: Path) -> Signal:
        """What a file that `encode` wrote holds; sound at the rate that its decoder gives, with its delay."""

    @property
    def parameters(self) -> int | None:
        """Of a network."""
        return None

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """V of each of the K codebooks; none where there are no codebooks."""
        return ()

    def codes(self, path: Path) -> NDArray[np.int64] | None:
        """Codes (K, n) in a file that `encode` wrote; None where there are no codebooks."""
        return None

    def payload(self, path: Path) -> int | None:
        """Bytes of a file that hold the signal, without container and header, where they can be told apart."""
        return None

    def code(self, signal: Signal, folder: Path) -> Coded:
        """Writes a signal to a file in `folder`, reads it back and decodes it. Raises NarrowsError where it cannot."""
        path = self.encode(signal, folder)
        decoded = self.decode(path)
        if isinstance(signal, Sound) and isinstance(decoded, Sound):
            decoded = decoded.at(signal.rate)
        return Coded(decoded, path.stat().st_size, self.payload(path), self.codes(path))


def nothing_needed() -> None:
    """The check of a metric that needs no more than the library itself."""


@dataclass(frozen=True)
class Metric:
    """A number that compares a decoded signal with its reference.

    measure: (reference, decoded) to the number, which is finite; both of one shape and rate, aligned. Raises
    NotMeasurable with the reason where there is none, such as PESQ of silence. about: what it is, with its settings and
    source. check: raises InputError where a package or weights are missing; called before any work starts. packages:
    those whose versions may change the number.
    """

    name: str
    medium: str
    unit: str
    better: Literal["higher", "lower"]
    about: str
    measure: Callable[[Signal, Signal], float]
    check: Callable[[], None] = nothing_needed
    packages: Sequence[str] = ()


@dataclass(frozen=True)
class SetMetric:
    """A number that compares all decoded signals with all their references, such as a distance of distributions.

    features: of one signal, (N, D). distance: (features of all references, features of all decoded signals), each
    (N, D) of all signals together, to the number. Both raise NotMeasurable; the other fields are those of Metric.
    """

    name: str
    medium: str
    unit: str
    better: Literal["higher", "lower"]
    about: str
    features: Callable[[Signal], NDArray[np.float64]]
    distance: Callable[[NDArray[np.float64], NDArray[np.float64]], float]
    check: Callable[[], None] = nothing_needed
    packages: Sequence[str] = ()


def identity(one: Metric | SetMetric) -> str:
    """All that a number depends on but the signals: what it is, and versions of packages. Same text, same number."""
    return " ".join((one.about, *(f"{name} {version(name)}." for name in one.packages)))


@dataclass(frozen=True)
class Sample:
    """An item itself: as it was, and as each point decoded it, by the names of points."""

    item: str
    reference: Signal
    decoded: Mapping[str, Signal]


class NotMeasurable(Exception):
    """A metric has no number for an item: the reason, in a few words."""


class Unavailable(Exception):
    """An operating point cannot be run here: the reason, in a few words. It is left out, and the report says so."""
