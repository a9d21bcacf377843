"""What is measured: items of one medium, operating points that code them, metrics that compare.

item ─▶ operating point ─▶ bytes on disk, decoded signal ─▶ metrics ─▶ one row of the results
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
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
    they can be told apart. codes (K, ...): of tokenizers with codebooks.
    """

    signal: Signal
    file_bytes: int
    payload_bytes: int | None = None
    codes: NDArray[np.int64] | None = None


class OperatingPoint(ABC):
    """A codec at one setting, such as `opus@12`: 12 kbit/s.

    family: the codec, whose points make a curve. setting: what stands behind the @, None where there is no choice.
    """

    medium: ClassVar[str]
    family: str
    setting: float | None

    @property
    def name(self) -> str:
        """family@setting, as it is asked for."""
        return self.family if self.setting is None else f"{self.family}@{self.setting:g}"

    @property
    @abstractmethod
    def key(self) -> Mapping[str, Json]:
        """All that its results depend on but the item: fingerprints of weights, options, versions of libraries."""

    @abstractmethod
    def code(self, signal: Signal, folder: Path) -> Coded:
        """Writes a signal to a file in `folder`, reads it back and decodes it. Raises NarrowsError where it cannot."""


@dataclass(frozen=True)
class Metric:
    """A number that compares a decoded signal with its reference.

    measure: (reference, decoded) to the number; both of one shape and rate, aligned. Raises NotMeasurable with the
    reason where there is none, such as PESQ of silence. about: what it is, with its settings and source.
    """

    name: str
    medium: str
    unit: str
    better: Literal["higher", "lower"]
    about: str
    measure: Callable[[Signal, Signal], float]


class NotMeasurable(Exception):
    """A metric has no number for an item: the reason, in a few words."""
