"""Results: one row for each item at each operating point, and what is told of all items at one point."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from narrows.evaluation.base import Json
from narrows.evaluation.statistics import Interval


@dataclass(frozen=True)
class Row:
    """One item at one operating point.

    amount: seconds or pixels. metrics: by name. failures: reasons of the metrics that have no number, by name; of the
    point itself under "coding". encode_s, decode_s are not here: speed is measured apart, see `Speed`.
    """

    item: str
    point: str
    amount: float
    file_bytes: int
    payload_bytes: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Speed:
    """Speed and size of an operating point, measured alone in a process of its own; None where not known.

    encode, decode: seconds of sound or megapixels a second, medians. peak_mib: resident memory at its highest.
    flops: of encoder, bottleneck and decoder together, for a second of sound or a pixel.
    """

    encode: float
    decode: float
    peak_mib: float
    parameters: int | None = None
    flops: float | None = None


@dataclass(frozen=True)
class Point:
    """An operating point as it was measured."""

    name: str
    family: str
    setting: float | None
    key: Mapping[str, Json]
    speed: Speed | None = None


@dataclass(frozen=True)
class Summary:
    """All items at one operating point.

    rate: mean over items of file bits by seconds / 1000 (kbit/s), or by pixels. total: all bits by all amounts.
    metrics: mean and interval over the items that have a number; failed: how many have none, by metric.
    """

    point: Point
    items: int
    rate: Interval
    total: float
    payload: float | None
    metrics: Mapping[str, Interval]
    failed: Mapping[str, int]


@dataclass(frozen=True)
class Results:
    """All that a run measured. left_out: reasons of the operating points that could not be, by name."""

    medium: str
    points: Sequence[Point]
    rows: Sequence[Row]
    metrics: Sequence[str]
    left_out: Mapping[str, str] = field(default_factory=dict)
