"""Results: one `ItemResult` for each item at each operating point, and their summaries over items.

`narrows.evaluation.result_files` reads and writes them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite
from typing import Any, Literal, Self

import numpy as np

from narrows.errors import InputError
from narrows.evaluation.base import Metric, SetMetric, metric_definition
from narrows.evaluation.metrics.codebook_usage import CodebookUsage
from narrows.evaluation.statistics import Interval, bootstrap_interval
from narrows.media.table import MEDIA

CODING = "coding"  # key in `ItemResult.failures`: the point could not encode or decode the item


@dataclass(frozen=True)
class ItemResult:
    """The result of one item at one operating point.

    It does not include speed, which is measured separately, see `Speed`.

    Args:
        item: Name of the item.
        point: Name of the operating point.
        amount: Seconds or pixels.
        file_bytes: All bytes on disk; meaningless if the item could not be coded.
        payload_bytes: Bytes that hold the signal, without container and header; None if unknown.
        metrics: Finite values by name.
        failures: Reasons why metrics have no value, by name. If the point could not code the item, "coding" has the
            reason and there are no metrics.

    Raises:
        InputError: A number is not finite or negative, or a failed item has metrics.
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
                raise InputError(f"expected a finite {name} of {where}, got {value}; list the metric under failures")
        if not (isfinite(self.amount) and self.amount > 0 and self.file_bytes >= 0):
            raise InputError(
                f"expected an amount above 0 and at least 0 bytes of {where}, got {self.amount} and {self.file_bytes}"
            )
        if CODING in self.failures and self.metrics:
            raise InputError(f"expected no metrics of {where}, which could not be coded, got {', '.join(self.metrics)}")

    @property
    def coded(self) -> bool:
        """Whether the operating point could encode and decode the item."""
        return CODING not in self.failures


@dataclass(frozen=True)
class Speed:
    """Speed and size of an operating point, measured in a separate process.

    Args:
        encode: Median encoding speed, seconds of audio or megapixels per second.
        decode: Median decoding speed.
        peak_mib: Peak resident memory in MiB.
        parameters: Number of parameters of a network, else None.
        flops: FLOPs of encoding and decoding per second of audio or per pixel; None if unknown.

    Raises:
        InputError: A speed is not above 0.
    """

    encode: float
    decode: float
    peak_mib: float
    parameters: int | None = None
    flops: float | None = None

    def __post_init__(self) -> None:
        for speed in (self.encode, self.decode):
            if not (isfinite(speed) and speed > 0):
                raise InputError(f"expected a speed above 0, got {speed}; measure it again")

    @property
    def round_trip(self) -> float:
        """Speed of encoding followed by decoding."""
        return 1 / (1 / self.encode + 1 / self.decode)


@dataclass(frozen=True)
class MeasuredPoint:
    """An operating point as it was measured.

    Args:
        name: family@setting.
        family: Name of the codec.
        setting: The number after the @; None for a codec without settings.
        key: JSON, see `OperatingPoint.key`.
        speed: Speed and size; None if not measured.
        codebooks: Usage of each codebook over all items that could be coded; empty for a codec without codebooks.
    """

    name: str
    family: str
    setting: float | None
    key: Mapping[str, Any]
    speed: Speed | None = None
    codebooks: Sequence[CodebookUsage] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "codebooks", tuple(self.codebooks))


@dataclass(frozen=True)
class MetricInfo:
    """A metric as recorded in results: its definition, without the function."""

    name: str
    unit: str
    better: Literal["higher", "lower"]
    description: str

    @classmethod
    def of(cls, metric: Metric | SetMetric) -> Self:
        """The record of a metric; the description includes package versions."""
        return cls(metric.name, metric.unit, metric.better, metric_definition(metric))

    @property
    def sign(self) -> int:
        """1 if higher is better, -1 if lower is better: sign * value is a quality."""
        return 1 if self.better == "higher" else -1


@dataclass(frozen=True)
class PointSummary:
    """Summary of all items at one operating point.

    Args:
        point: The operating point.
        items: Number of items.
        rate: Mean over items of the file rate, in the results' rate unit; None if no item could be coded.
        total_rate: File bits of all items divided by their total amount; None if no item could be coded.
        total_payload_rate: Payload bits of all items divided by their total amount; None if unknown.
        metrics: Mean and interval over the items with a value, by metric.
        metric_rates: Mean rate over the items with a value, by metric: the rate that a curve pairs with the mean.
        failed: Number of items without a value, by metric and "coding".
        codes: Codes, all codebooks together, per second or per pixel; None for a codec without codebooks.
        codes_used: Fraction of the entries of all codebooks together that occur.
        perplexity: Geometric mean of the perplexities of the codebooks: 2 to the mean entropy in bits per code.
    """

    point: MeasuredPoint
    items: int
    rate: Interval | None
    total_rate: float | None
    total_payload_rate: float | None
    metrics: Mapping[str, Interval]
    metric_rates: Mapping[str, float]
    failed: Mapping[str, int]
    codes: float | None = None
    codes_used: float | None = None
    perplexity: float | None = None


@dataclass(frozen=True)
class Results:
    """All results of a run.

    Args:
        medium: "audio", "image" or "video".
        points: Operating points; stored in order of family and setting.
        item_results: One result for each item at each point; stored in order of point and item.
        metrics: Metrics in the order in which they are shown; the first is the main metric.
        skipped: Reasons why operating points or their speeds could not be measured, by name.
        setup: Facts about the run, such as date, data, versions and processor: text by name.
        unreadable: Reasons why items could not be read, by name.
        set_metrics: Values over all items of a point together, by point and metric.

    Raises:
        InputError: The medium is unknown, two points, metrics or item results have the same name, or an item result is
            of an unknown point or metric.
    """

    medium: str
    points: Sequence[MeasuredPoint]
    item_results: Sequence[ItemResult]
    metrics: Sequence[MetricInfo]
    skipped: Mapping[str, str] = field(default_factory=dict)
    setup: Mapping[str, str] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)
    set_metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.medium not in MEDIA:
            raise InputError(f"expected a medium among {', '.join(MEDIA)}, got {self.medium!r}")
        points = sorted(self.points, key=lambda p: (p.family, p.setting is not None, p.setting or 0, p.name))
        order = {point.name: index for index, point in enumerate(points)}
        _check_unique("points", [point.name for point in points])
        _check_unique("metrics", [metric.name for metric in self.metrics])
        _check_unique("item results", [f"{result.item} at {result.point}" for result in self.item_results])
        known = {metric.name for metric in self.metrics}
        for result in self.item_results:
            unknown = sorted((result.metrics.keys() | result.failures.keys()) - known - {CODING})
            if result.point not in order or unknown:
                what = f"metric {unknown[0]!r}" if result.point in order else f"point {result.point!r}"
                raise InputError(f"item {result.item!r} has the {what}, which the results do not list; list it")
        object.__setattr__(self, "points", tuple(points))
        in_order = sorted(self.item_results, key=lambda result: (order[result.point], result.item))
        object.__setattr__(self, "item_results", tuple(in_order))
        object.__setattr__(self, "metrics", tuple(self.metrics))

    @property
    def rate_unit(self) -> str:
        """Unit of rates: kbit/s or bits/pixel."""
        return MEDIA[self.medium].rate_unit

    @property
    def items(self) -> list[str]:
        """Names of the items, sorted."""
        return sorted({result.item for result in self.item_results})

    @property
    def families(self) -> list[str]:
        """Names of the codecs, sorted."""
        return sorted({point.family for point in self.points})

    @cached_property
    def by_point(self) -> Mapping[str, Mapping[str, ItemResult]]:
        """Item results by point and item."""
        found: dict[str, dict[str, ItemResult]] = {point.name: {} for point in self.points}
        for result in self.item_results:
            found[result.point][result.item] = result
        return found

    def rate(self, result: ItemResult, payload: bool = False) -> float:
        """Rate of an item's file, or of its payload, in `rate_unit`. The size of the payload must be known."""
        size = (result.payload_bytes or 0) if payload else result.file_bytes
        return MEDIA[self.medium].rate(size, result.amount)

    def summaries(self) -> list[PointSummary]:
        """Summary of each point, in order."""
        return [self._summary(point) for point in self.points]

    def _summary(self, point: MeasuredPoint) -> PointSummary:
        results = list(self.by_point[point.name].values())
        coded = [result for result in results if result.coded]
        amount = sum(result.amount for result in coded)
        payload_known = coded and all(result.payload_bytes is not None for result in coded)
        names = [metric.name for metric in self.metrics]
        values = {name: [result.metrics[name] for result in coded if name in result.metrics] for name in names}
        set_values = self.set_metrics.get(point.name, {})
        over_sets = {name: Interval(value, value, value, len(coded)) for name, value in set_values.items()}

        def with_value(name: str) -> list[ItemResult]:
            return [
                result
                for result in coded
                if name in result.metrics or (name in over_sets and name not in result.failures)
            ]

        failed = {name: len(results) - len(found) for name, found in values.items()}
        failed |= {name: sum(name in result.failures for result in results) for name in over_sets}
        rates = {name: [self.rate(result) for result in with_value(name)] for name in names}
        return PointSummary(
            point,
            len(results),
            bootstrap_interval([self.rate(result) for result in coded]),
            sum(self.rate(result) * result.amount for result in coded) / amount if coded else None,
            sum(self.rate(result, True) * result.amount for result in coded) / amount if payload_known else None,
            {name: found for name in names if (found := bootstrap_interval(values[name]))} | over_sets,
            {name: float(np.mean(found)) for name, found in rates.items() if found},
            {CODING: len(results) - len(coded)} | failed,
            *_codebook_summary(point.codebooks, amount),
        )


def _codebook_summary(
    usages: Sequence[CodebookUsage], amount: float
) -> tuple[float | None, float | None, float | None]:
    """Codes per amount, fraction of the entries that occur, and perplexity, see `PointSummary`."""
    if not usages or not amount:
        return None, None, None
    used = sum(usage.used * usage.size for usage in usages) / sum(usage.size for usage in usages)
    mean_entropy = sum(usage.entropy for usage in usages) / len(usages)
    return sum(usage.codes for usage in usages) / amount, used, 2**mean_entropy


def _check_unique(what: str, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(f"expected unique {what}, got two {what} {name!r}")
        seen.add(name)
