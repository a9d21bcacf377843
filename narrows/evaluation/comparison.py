"""Comparison of two codecs, or of two runs, over the same items."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from narrows.errors import InputError
from narrows.evaluation.curves import MIN_POINTS, Curve, Delta, bd_rate
from narrows.evaluation.results import ItemResult, MetricInfo, Results
from narrows.evaluation.statistics import Interval, paired_difference


@dataclass(frozen=True)
class Difference:
    """Change of the rate or of a metric at one operating point.

    Args:
        point: Name of the operating point.
        quantity: "rate" or the name of a metric.
        unit: Its unit.
        before: Mean in the first run, over the items with a value in both.
        after: Mean in the second run.
        change: Paired interval of after - before.
        sign: 1 if an increase is an improvement, else -1.
    """

    point: str
    quantity: str
    unit: str
    before: float
    after: float
    change: Interval
    sign: int


@dataclass(frozen=True)
class Comparison:
    """Differences between two runs.

    Args:
        differences: Of the rate and of each metric at each point in both runs.
        bd_rates: By family and metric: the delta of the second run against the first, or the reason why it is
            undefined.
        missing: Points, metrics (with their definitions) and items that only one run has or could code.
    """

    differences: Sequence[Difference]
    bd_rates: Mapping[str, Mapping[str, Delta | str]]
    missing: Sequence[str]

    def to_json(self) -> str:
        """JSON; equal comparisons give equal text."""
        return json.dumps(asdict(self), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"

    def table(self) -> Group:
        """Tables for a terminal; significant improvements are green, significant degradations red."""
        points = Table("point", "quantity", "before", "after", "change", "95 % interval", title="Points")
        for difference in self.differences:
            low, high = difference.change.low * difference.sign, difference.change.high * difference.sign
            known = difference.change.low < difference.change.high  # a single item has no interval
            style = "red" if known and max(low, high) < 0 else "green" if known and min(low, high) > 0 else None
            interval = f"{difference.change.low:+.4g} to {difference.change.high:+.4g}"
            name = f"{difference.quantity} ({difference.unit})" if difference.unit else difference.quantity
            values = (f"{difference.before:.4g}", f"{difference.after:.4g}", f"{difference.change.mean:+.4g}", interval)
            points.add_row(escape(difference.point), escape(name), *values, style=style)
        curves = Table("codec", "metric", "BD-rate", "95 % interval", "overlap", title="Curves")
        for family, deltas in self.bd_rates.items():
            for metric, delta in deltas.items():
                curves.add_row(escape(family), escape(metric), *_delta_cells(delta))
        notes = [escape(f"Not in both: {', '.join(self.missing)}")] if self.missing else []
        return Group(points, curves, *notes)


def _delta_cells(delta: Delta | str) -> tuple[str, str, str]:
    if isinstance(delta, str):
        return "–", delta, ""
    interval = f"{delta.interval.low:+.1f} to {delta.interval.high:+.1f} %" if delta.interval else ""
    return f"{delta.change:+.1f} %", interval, f"{delta.overlap:.0%}"


def compare(before: Results, after: Results) -> Comparison:
    """Compares the second run with the first, matching points, items, metrics and families by name.

    Args:
        before: First run.
        after: Second run, of the same medium.

    Returns:
        The comparison.

    Raises:
        InputError: The media differ, or there is no operating point or no item in common.
    """
    if before.medium != after.medium:
        raise InputError(f"expected two results of one medium, got {before.medium} and {after.medium}")
    names = [[point.name for point in results.points] for results in (before, after)]
    common = [name for name in names[0] if name in names[1]]
    if not common:
        raise InputError("the two results have no operating point in common; measure one codec at one setting in both")
    if not set(before.items) & set(after.items):
        raise InputError("the two results have no item in common; measure the same files in both")
    metrics = [metric for metric in before.metrics if metric in after.metrics]
    families = [family for family in before.families if family in after.families]
    return Comparison(
        [difference for name in common for difference in _differences(before, after, name, metrics)],
        {
            family: {m.name: family_bd_rate(m, (before, family), (after, family)) for m in metrics}
            for family in families
        },
        _missing(before, after, common),
    )


def _missing(before: Results, after: Results, common: Sequence[str]) -> list[str]:
    """Lists points, metrics and items of only one run, and items that only one run could code at a common point."""
    points, metrics, items, coded = (set[str]() for _ in range(4))
    for results in (before, after):
        points ^= {f"point {point.name}" for point in results.points}
        metrics ^= {f"metric {metric.name} ({metric.description})" for metric in results.metrics}
        items ^= {f"item {item}" for item in results.items}
        coded ^= {
            f"{item} at {name}" for name in common for item, result in results.by_point[name].items() if result.coded
        }
    in_both = set(before.items) & set(after.items)
    coded = {text for text in coded if text.rpartition(" at ")[0] in in_both}
    return [text for texts in (points, metrics, items, coded) for text in sorted(texts)]


def _differences(before: Results, after: Results, point: str, metrics: Sequence[MetricInfo]) -> list[Difference]:
    """Changes of the rate, then of each metric that at least one item has in both runs."""
    pairs = [
        (result, after.by_point[point][item])
        for item, result in before.by_point[point].items()
        if item in after.by_point[point]
    ]
    coded = [(a, b) for a, b in pairs if a.coded and b.coded]
    values = {"rate": (before.rate_unit, -1, [(before.rate(a), after.rate(b)) for a, b in coded])}
    for metric in metrics:
        name = metric.name
        both = [(a.metrics[name], b.metrics[name]) for a, b in coded if name in a.metrics and name in b.metrics]
        values[name] = (metric.unit, metric.sign, both)
    found = []
    for name, (unit, sign, both) in values.items():
        first, second = np.array(both).reshape(-1, 2).T
        change = paired_difference(first, second)
        if change:
            found.append(Difference(point, name, unit, float(first.mean()), float(second.mean()), change, sign))
    return found


def family_bd_rate(metric: MetricInfo, anchor: tuple[Results, str], test: tuple[Results, str]) -> Delta | str:
    """BD-rate of one family against another, of the same or of different runs.

    It uses the items that have the metric at every point of both families; rates and qualities are means over items.

    Args:
        metric: Metric that gives the quality.
        anchor: Results and family to compare with.
        test: Results and family under test.

    Returns:
        The delta, or the reason why it is undefined.
    """
    by_item = [_results_by_item(*side) for side in (anchor, test)]
    complete = sorted(
        item
        for item in by_item[0].keys() & by_item[1].keys()
        if all(result is not None and metric.name in result.metrics for side in by_item for result in side[item])
    )
    if not complete:
        return "no item has the metric at every point of both"
    curves = []
    for (results, _), side in zip((anchor, test), by_item, strict=True):
        grid = [[result for result in side[item] if result] for item in complete]  # items × points
        rates = [[results.rate(result) for result in row] for row in grid]
        if not all(rate for row in rates for rate in row):
            return "a file is empty"
        curves.append(Curve(rates, [[metric.sign * result.metrics[metric.name] for result in row] for row in grid]))
    count = min(int(curve.undominated.sum()) for curve in curves)
    if count < MIN_POINTS:
        return f"{count} undominated point{'s' * (count != 1)}, {MIN_POINTS} are needed"
    return bd_rate(curves[0], curves[1]) or "no common quality"


def _results_by_item(results: Results, family: str) -> dict[str, list[ItemResult | None]]:
    """The result of each item at each of the family's points; None for a missing result."""
    points = [results.by_point[point.name] for point in results.points if point.family == family]
    return {item: [point.get(item) for point in points] for item in results.items}
