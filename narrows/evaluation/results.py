"""Results: one row for each item at each operating point, and what is told of all items at one point.

results.json    everything; what the others are made from
rows.csv        one line for each item at each point; rows.parquet the same
summary.csv     one line for each point
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from narrows.errors import InputError
from narrows.evaluation.base import Metric, SetMetric, identity
from narrows.evaluation.statistics import Interval, interval
from narrows.media.atomic import write_bytes
from narrows.media.files import StrPath, open_input, shown
from narrows.records import parsed, record

FORMAT, VERSION = "narrows results", 1
CODING = "coding"  # in `Row.failures`: the point could not code the item
RATES = {"audio": ("kbit/s", 1000), "image": ("bits/pixel", 1)}  # by medium: unit, and bits an amount in one of it


@dataclass(frozen=True)
class Row:
    """One item at one operating point.

    amount: seconds or pixels. metrics: finite numbers, by name. failures: reasons of the metrics that have no number,
    by name; of the point itself under "coding", and then there are no metrics and file_bytes does not count.
    Speed is not here: it is measured apart, see `Speed`. Raises InputError for numbers that are not finite.
    """

    item: str
    point: str
    amount: float
    file_bytes: int
    payload_bytes: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "amount", float(self.amount))
        object.__setattr__(self, "metrics", {name: float(value) for name, value in self.metrics.items()})
        where = f"item {self.item!r} at {self.point!r}"
        for name, value in self.metrics.items():
            if not isfinite(value):
                raise InputError(f"{name} of {where} is {value}; put what has no number into failures")
        if not (isfinite(self.amount) and self.amount > 0 and self.file_bytes >= 0):
            raise InputError(
                f"{where} has {self.file_bytes} bytes for an amount of {self.amount}; both count from 0 up"
            )
        if CODING in self.failures and self.metrics:
            raise InputError(f"{where} failed to be coded and has metrics; only one can be")

    @property
    def coded(self) -> bool:
        """Whether the point could code the item."""
        return CODING not in self.failures


@dataclass(frozen=True)
class Speed:
    """Speed and size of an operating point, measured alone in a process of its own; None where not known.

    encode, decode: seconds of sound or megapixels a second, medians. peak_mib: resident memory at its highest.
    flops: of encoder, bottleneck and decoder together, for a second of sound or a pixel.
    Raises InputError for speeds that are not above 0.
    """

    encode: float
    decode: float
    peak_mib: float
    parameters: int | None = None
    flops: float | None = None

    def __post_init__(self) -> None:
        for speed in (self.encode, self.decode):
            if not (isfinite(speed) and speed > 0):
                raise InputError(f"a speed of {speed} was given, one above 0 is wanted; measure it again")

    @property
    def both(self) -> float:
        """Encoding and decoding one after the other."""
        return 1 / (1 / self.encode + 1 / self.decode)


@dataclass(frozen=True)
class Point:
    """An operating point as it was measured."""

    name: str
    family: str
    setting: float | None
    key: Mapping[str, Any]  # of JSON
    speed: Speed | None = None


@dataclass(frozen=True)
class Measure:
    """A metric as results tell of it: all of `Metric` but the function."""

    name: str
    unit: str
    better: Literal["higher", "lower"]
    about: str

    @classmethod
    def of(cls, metric: Metric | SetMetric) -> Self:
        """Of a metric that was measured."""
        return cls(metric.name, metric.unit, metric.better, identity(metric))

    @property
    def sign(self) -> int:
        """1 where higher is better, -1 where lower is: values times it are qualities."""
        return 1 if self.better == "higher" else -1


@dataclass(frozen=True)
class Summary:
    """All items at one operating point.

    rate: mean over items of file bits by seconds / 1000 (kbit/s), or by pixels. total: all bits by all amounts. Both
    are None where no item could be coded. payload: as total, of the payload bytes; None where one is not known.
    metrics: mean and interval over the items that have a number; rates: mean rate of these items, by metric, which is
    what a curve pairs; failed: how many have none, by metric and "coding".
    """

    point: Point
    items: int
    rate: Interval | None
    total: float | None
    payload: float | None
    metrics: Mapping[str, Interval]
    rates: Mapping[str, float]
    failed: Mapping[str, int]


@dataclass(frozen=True)
class Results:
    """All that a run measured.

    metrics: in the order in which they are shown; the first is the main one. left_out: reasons of the operating points
    that could not be, by name. setup: what a reader must know of how this was measured, such as date, data, versions
    and processor, by name, in words. unread: reasons of the items that could not be read, by name. sets: numbers of
    all items of a point together, by point and metric. Points are in order of family and setting, rows of point and
    item, whatever the order they are given in.

    Raises InputError for an unknown medium, for two points, metrics or rows of one name, and for rows of unknown points
    and metrics.
    """

    medium: str
    points: Sequence[Point]
    rows: Sequence[Row]
    metrics: Sequence[Measure]
    left_out: Mapping[str, str] = field(default_factory=dict)
    setup: Mapping[str, str] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)
    sets: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.medium not in RATES:
            raise InputError(f"results of medium {self.medium!r} were given; known are {', '.join(RATES)}")
        points = sorted(self.points, key=lambda p: (p.family, p.setting is not None, p.setting or 0, p.name))
        place = {point.name: index for index, point in enumerate(points)}
        _once("points", [point.name for point in points])
        _once("metrics", [measure.name for measure in self.metrics])
        _once("rows", [f"{row.item} at {row.point}" for row in self.rows])
        known = {measure.name for measure in self.metrics}
        for row in self.rows:
            strange = sorted((row.metrics.keys() | row.failures.keys()) - known - {CODING})
            if row.point not in place or strange:
                lacking = f"metric {strange[0]!r}" if row.point in place else f"point {row.point!r}"
                raise InputError(f"item {row.item!r} has a {lacking} that the results do not list; list it")
        object.__setattr__(self, "points", tuple(points))
        object.__setattr__(self, "rows", tuple(sorted(self.rows, key=lambda row: (place[row.point], row.item))))
        object.__setattr__(self, "metrics", tuple(self.metrics))

    @property
    def rate_unit(self) -> str:
        """kbit/s or bits/pixel."""
        return RATES[self.medium][0]

    @property
    def items(self) -> list[str]:
        """Names of the items, sorted."""
        return sorted({row.item for row in self.rows})

    @property
    def families(self) -> list[str]:
        """Names of the codecs, sorted."""
        return sorted({point.family for point in self.points})

    @cached_property
    def by_point(self) -> Mapping[str, Mapping[str, Row]]:
        """The rows of each point, by item."""
        rows: dict[str, dict[str, Row]] = {point.name: {} for point in self.points}
        for row in self.rows:
            rows[row.point][row.item] = row
        return rows

    def rate(self, row: Row, payload: bool = False) -> float:
        """Bits of the file (of the payload, which must be known) by the amount, in `rate_unit`."""
        size = (row.payload_bytes or 0) if payload else row.file_bytes
        return 8 * size / row.amount / RATES[self.medium][1]

    def summary(self) -> list[Summary]:
        """What is told of each point, in their order."""
        return [self._of(point) for point in self.points]

    def _of(self, point: Point) -> Summary:
        rows = list(self.by_point[point.name].values())
        coded = [row for row in rows if row.coded]
        amount = sum(row.amount for row in coded)
        payload_known = coded and all(row.payload_bytes is not None for row in coded)
        found = {name: [row.metrics[name] for row in coded if name in row.metrics] for name in self._names}
        whole = {
            name: Interval(value, value, value, len(coded)) for name, value in self.sets.get(point.name, {}).items()
        }

        def having(name: str) -> list[Row]:
            return [row for row in coded if name in row.metrics or (name in whole and name not in row.failures)]

        lacking = {name: len(rows) - len(values) for name, values in found.items()}
        lacking |= {name: sum(name in row.failures for row in rows) for name in whole}
        return Summary(
            point,
            len(rows),
            interval([self.rate(row) for row in coded]),
            sum(self.rate(row) * row.amount for row in coded) / amount if coded else None,
            sum(self.rate(row, payload=True) * row.amount for row in coded) / amount if payload_known else None,
            {name: told for name, values in found.items() if (told := interval(values))} | whole,
            {
                name: float(np.mean(rates))
                for name in self._names
                if (rates := [self.rate(row) for row in having(name)])
            },
            {CODING: len(rows) - len(coded)} | lacking,
        )

    @property
    def _names(self) -> list[str]:
        return [measure.name for measure in self.metrics]

    def to_json(self) -> str:
        """Everything, as text that is the same for equal results."""
        facts = {"format": FORMAT, "version": VERSION} | asdict(self)
        return json.dumps(facts, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, source: str = "the text") -> Self:
        """Results from what `to_json` wrote. Raises InputError, naming the source, for anything else."""
        try:
            facts = parsed(text)
            if not isinstance(facts, dict) or facts.get("format") != FORMAT:
                raise InputError(f"it does not say that its format is {FORMAT!r}")
            version = facts.get("version")
            if version != VERSION:
                raise InputError(f"its version is {version}, this narrows reads {VERSION}; install a newer one")
            return record(cls, {key: facts[key] for key in facts.keys() - {"format", "version"}}, "the file")
        except InputError as error:
            raise InputError(f"{source} holds no results: {error}; give a results.json as it was written") from error

    @classmethod
    def read(cls, path: StrPath) -> Self:
        """Results from a file. Raises MediaError where it cannot be read, InputError where it holds something else."""
        with open_input(path) as file:
            return cls.from_json(file.read(), shown(path))

    def write(self, folder: StrPath, *, overwrite: bool = False) -> None:
        """Write results.json, rows.csv, rows.parquet and summary.csv into a folder, which is made where it is missing.

        Each file appears only when it is complete. Equal results make equal bytes (of Parquet: with one pyarrow).
        Raises MediaError where a file cannot be written, or exists without `overwrite`.
        """
        from narrows.evaluation import result_files

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        rows, points = result_files.rows(self), result_files.summary(self)
        files = {
            "results.json": self.to_json().encode(),
            "rows.csv": result_files.as_csv(rows),
            "rows.parquet": result_files.as_parquet(rows),
            "summary.csv": result_files.as_csv(points),
        }
        for name, data in files.items():
            write_bytes(folder / name, data, overwrite=overwrite)


def _once(what: str, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(f"results with two {what} {name!r} were given; give each once")
        seen.add(name)
