"""Two codecs, or two runs, side by side over the same items."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from narrows.errors import InputError
from narrows.evaluation.curves import LEAST_POINTS, Curve, Delta, bd_rate
from narrows.evaluation.results import Measure, Results, Row
from narrows.evaluation.statistics import Interval, difference


@dataclass(frozen=True)
class Difference:
    """How a number of one point changed: mean before, mean after, and the paired interval of after - before.

    All are of the items that have the number in both runs. better: the sign that is good.
    """

    point: str
    what: str
    unit: str
    before: float
    after: float
    change: Interval
    better: int


@dataclass(frozen=True)
class Comparison:
    """What changed from one run to another.

    differences: of the rate and of each metric of each point that both have. bd_rates: by family and metric, the delta
    of the second run against the first, or the reason why there is none. missing: points, metrics (by their settings)
    and items that only one run has or could code.
    """

    differences: Sequence[Difference]
    bd_rates: Mapping[str, Mapping[str, Delta | str]]
    missing: Sequence[str]

    def to_json(self) -> str:
        """As text that is the same for equal comparisons."""
        return json.dumps(asdict(self), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"

    def table(self) -> Group:
        """For a terminal: what surely changed is green where it got better and red where worse."""
        points = Table("point", "what", "before", "after", "change", "95 % interval", title="Points")
        for one in self.differences:
            low, high = one.change.low * one.better, one.change.high * one.better
            sure = one.change.low < one.change.high  # of a single item there is no interval
            style = "red" if sure and max(low, high) < 0 else "green" if sure and min(low, high) > 0 else None
            interval = f"{one.change.low:+.4g} to {one.change.high:+.4g}"
            name = f"{one.what} ({one.unit})" if one.unit else one.what
            cells = (f"{one.before:.4g}", f"{one.after:.4g}", f"{one.change.mean:+.4g}", interval)
            points.add_row(escape(one.point), escape(name), *cells, style=style)
        curves = Table("codec", "metric", "BD-rate", "95 % interval", "overlap", title="Curves")
        for family, deltas in self.bd_rates.items():
            for metric, delta in deltas.items():
                curves.add_row(escape(family), escape(metric), *_cells(delta))
        told = [escape(f"Not in both: {', '.join(self.missing)}")] if self.missing else []
        return Group(points, curves, *told)


def _cells(delta: Delta | str) -> tuple[str, str, str]:
    if isinstance(delta, str):
        return "–", delta, ""
    interval = f"{delta.interval.low:+.1f} to {delta.interval.high:+.1f} %" if delta.interval else ""
    return f"{delta.change:+.1f} %", interval, f"{delta.overlap:.0%}"


def compare(before: Results, after: Results) -> Comparison:
    """The second run against the first, by the names of points, items, metrics and families.

    Raises InputError for runs of different media and for runs that have no point in common.
    """
    if before.medium != after.medium:
        raise InputError(f"results of {before.medium} and of {after.medium} were given; give two of one medium")
    names = [[point.name for point in results.points] for results in (before, after)]
    common = [name for name in names[0] if name in names[1]]
    if not common:
        raise InputError("the two results have no operating point in common; measure one codec at one setting in both")
    if not set(before.items) & set(after.items):
        raise InputError("the two results have no item in common; measure the same files in both")
    measures = [measure for measure in before.metrics if measure in after.metrics]
    families = [family for family in before.families if family in after.families]
    return Comparison(
        [one for name in common for one in _differences(before, after, name, measures)],
        {f: {m.name: family_delta(m, (before, f), (after, f)) for m in measures} for f in families},
        _missing(before, after, common),
    )


def _missing(before: Results, after: Results, common: Sequence[str]) -> list[str]:
    """What only one of two runs has: points, metrics, items, and those of common points that only one could code."""
    points, metrics, items, coded = (set[str]() for _ in range(4))
    for results in (before, after):
        points ^= {f"point {point.name}" for point in results.points}
        metrics ^= {f"metric {measure.name} ({measure.about})" for measure in results.metrics}
        items ^= {f"item {item}" for item in results.items}
        coded ^= {f"{item} at {name}" for name in common for item, row in results.by_point[name].items() if row.coded}
    both = set(before.items) & set(after.items)
    coded = {one for one in coded if one.rpartition(" at ")[0] in both}
    return [one for names in (points, metrics, items, coded) for one in sorted(names)]


def _differences(before: Results, after: Results, point: str, measures: Sequence[Measure]) -> list[Difference]:
    """Of the rate, then of each metric, where any item has both."""
    pairs = [
        (row, after.by_point[point][item])
        for item, row in before.by_point[point].items()
        if item in after.by_point[point]
    ]
    coded = [(a, b) for a, b in pairs if a.coded and b.coded]
    values = {"rate": (before.rate_unit, -1, [(before.rate(a), after.rate(b)) for a, b in coded])}
    for measure in measures:
        name = measure.name
        both = [(a.metrics[name], b.metrics[name]) for a, b in coded if name in a.metrics and name in b.metrics]
        values[name] = (measure.unit, measure.sign, both)
    found = []
    for name, (unit, better, both) in values.items():
        then, now = np.array(both).reshape(-1, 2).T
        change = difference(then, now)
        if change:
            found.append(Difference(point, name, unit, float(then.mean()), float(now.mean()), change, better))
    return found


def family_delta(measure: Measure, anchor: tuple[Results, str], test: tuple[Results, str]) -> Delta | str:
    """The BD-rate of a family of one run against a family of another (or of the same), or why there is none.

    Over the items that have the metric at every point of both; rates and qualities are means over items.
    """
    rows = [_items_of(*side) for side in (anchor, test)]
    complete = sorted(
        item
        for item in rows[0].keys() & rows[1].keys()
        if all(row is not None and measure.name in row.metrics for side in rows for row in side[item])
    )
    if not complete:
        return "no item has the metric at every point of both"
    curves = []
    for (results, _), side in zip((anchor, test), rows, strict=True):
        own = [[row for row in side[item] if row] for item in complete]
        if not all(results.rate(row) for of_item in own for row in of_item):
            return "a file of no bytes"
        rates = [[results.rate(row) for row in of_item] for of_item in own]
        curves.append(Curve(rates, [[measure.sign * row.metrics[measure.name] for row in of_item] for of_item in own]))
    counts = [int(curve.kept.sum()) for curve in curves]
    if min(counts) < LEAST_POINTS:
        few = min(counts)
        return f"{few} useful point{'s' * (few != 1)}, {LEAST_POINTS} are wanted"
    return bd_rate(curves[0], curves[1]) or "no quality in common"


def _items_of(results: Results, family: str) -> dict[str, list[Row | None]]:
    """For each item its row at each of the family's points, None where there is none."""
    points = [results.by_point[point.name] for point in results.points if point.family == family]
    return {item: [rows.get(item) for rows in points] for item in results.items}
