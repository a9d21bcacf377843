"""Base classes of the evaluation: operating points, which code signals of one medium, and metrics, which compare them.

item ─▶ operating point ─▶ bytes on disk, decoded signal ─▶ metrics ─▶ one `ItemResult` of the results
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from narrows.media.medium import Signal

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


@dataclass(frozen=True)
class CodingResult:
    """A signal after encoding and decoding by an operating point.

    Args:
        signal: Decoded signal, of the medium, sample rate and channels of the original. Its length or size differs
            only by what the codec adds (delay, padding).
        file_bytes: All bytes on disk.
        payload_bytes: Bytes that hold the signal, without container and header; None if unknown.
        codes: Codes (K, n); None for a codec without codebooks.
    """

    signal: Signal
    file_bytes: int
    payload_bytes: int | None = None
    codes: NDArray[np.int64] | None = None


class OperatingPoint(ABC):
    """A codec at one setting, such as `opus@12` (12 kbit/s).

    Operating points can be pickled; weights are loaded in the process that uses them.

    Attributes:
        medium: Name of the medium, "audio", "image" or "video".
        family: Name of the codec. The points of one family form a rate-quality curve.
        setting: The number after the @; None for a codec without settings.
    """

    medium: ClassVar[str]
    family: str
    setting: float | None

    @property
    def name(self) -> str:
        """family@setting, as given on the command line."""
        return self.family if self.setting is None else f"{self.family}@{self.setting:.10g}"

    @property
    @abstractmethod
    def key(self) -> Mapping[str, Json]:
        """Everything except the item on which results depend: weight fingerprints, options, library versions."""

    @abstractmethod
    def check(self) -> None:
        """Raises Unavailable if something that the codec needs is not installed."""

    @abstractmethod
    def encode(self, signal: Signal, folder: Path) -> Path:
        """Writes a signal to a file in `folder`. Raises NarrowsError if it cannot be encoded."""

    @abstractmethod
    def decode(self, path: Path) -> Signal:
        """Decodes a file that `encode` wrote. Audio comes at the decoder's sample rate and with its delay."""

    @property
    def parameters(self) -> int | None:
        """Number of parameters of a network, else None."""
        return None

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Size V of each of the K codebooks; empty for a codec without codebooks."""
        return ()

    def codes(self, path: Path) -> NDArray[np.int64] | None:
        """Codes (K, n) in a file that `encode` wrote; None for a codec without codebooks."""
        return None

    def payload(self, path: Path) -> int | None:
        """Bytes of a file that hold the signal, without container and header; None if unknown."""
        return None

    def round_trip(self, signal: Signal, folder: Path) -> CodingResult:
        """Encodes a signal to a file in `folder` and decodes that file. Raises NarrowsError if either fails."""
        path = self.encode(signal, folder)
        return CodingResult(self.decode(path), path.stat().st_size, self.payload(path), self.codes(path))


def no_requirements() -> None:
    """The check of a metric that needs no further packages or weights."""


@dataclass(frozen=True)
class Metric:
    """A number that compares one decoded signal with its reference.

    Args:
        name: Name on the command line.
        medium: "audio", "image" or "video".
        unit: Unit of the number; empty for none.
        better: Which direction is better.
        description: Definition of the metric with its parameters and source, as sentences.
        measure: Function of (reference, decoded), which have the same shape and sample rate and are time-aligned.
            Returns a finite number. Raises NotMeasurable with the reason if the metric is undefined, such as PESQ of
            silence.
        check: Raises InputError if a package or pretrained weights are missing; called before any work starts. The
            metric is then left out.
        packages: Distributions whose version may change the number.
        video: Of a metric of images, the metric of video with this name; None for the mean over frames.
    """

    name: str
    medium: str
    unit: str
    better: Literal["higher", "lower"]
    description: str
    measure: Callable[[Signal, Signal], float]
    check: Callable[[], None] = no_requirements
    packages: Sequence[str] = ()
    video: "Metric | None" = None


@dataclass(frozen=True)
class SetMetric:
    """A number that compares all decoded signals with all references, such as a distance between distributions.

    Args:
        features: Function of one signal that returns features (N, D).
        distance: Function of (features of all references, features of all decoded signals), each (N, D) with the
            features of all signals concatenated. Both functions may raise NotMeasurable.

    The other arguments are the same as in `Metric`.
    """

    name: str
    medium: str
    unit: str
    better: Literal["higher", "lower"]
    description: str
    features: Callable[[Signal], NDArray[np.float64]]
    distance: Callable[[NDArray[np.float64], NDArray[np.float64]], float]
    check: Callable[[], None] = no_requirements
    packages: Sequence[str] = ()


def metric_definition(metric: Metric | SetMetric) -> str:
    """The metric's description and package versions. Values with equal definitions are comparable."""
    return " ".join((metric.description, *(f"{name} {version(name)}." for name in metric.packages)))


class NotMeasurable(Exception):
    """A metric is undefined for an item; the message is the reason, in a few words."""


class Unavailable(Exception):
    """An operating point cannot run here; the message is the reason. The point is skipped and the report says so."""
