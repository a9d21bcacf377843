"""Plots as data: what both drawings, for the page and for a file, and the table beside them are made from."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from narrows.evaluation.bands import Bands
from narrows.evaluation.curves import pareto
from narrows.evaluation.report.words import number, spread
from narrows.evaluation.results import Measure, Results, Summary


@dataclass(frozen=True)
class Mark:
    """A point of a plot; low and high are the ends of its whisker. front: it is a member of the Pareto front."""

    x: float
    y: float
    label: str
    low: float | None = None
    high: float | None = None
    front: bool = False


@dataclass(frozen=True)
class Series:
    """Marks joined by a line. slot: chooses colour, shape and dash, the same in all plots."""

    name: str
    slot: int
    marks: Sequence[Mark]


@dataclass(frozen=True)
class Plot:
    """name: of its files. x is logarithmic."""

    name: str
    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]

    def as_csv(self) -> bytes:
        """One line for each mark."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("series", "label", self.x_label, self.y_label, "low", "high"))
        for series in self.series:
            writer.writerows((series.name, m.label, m.x, m.y, m.low, m.high) for m in series.marks)
        return text.getvalue().encode()


def rate_quality(results: Results, summaries: Sequence[Summary]) -> list[Plot]:
    """One plot for each metric that any point has, one series for each family."""
    plots = []
    for index, measure in enumerate(results.metrics):
        members = front(summaries, measure)
        series = []
        for slot, family in enumerate(results.families):
            own = [s for s in summaries if s.point.family == family and measure.name in s.metrics]
            marks = [_mark(told, measure, results.rate_unit, told.point.name in members) for told in own]
            if marks:
                series.append(Series(family, slot, sorted(marks, key=lambda mark: mark.x)))
        if series:
            arrow = "↑ higher is better" if measure.better == "higher" else "↓ lower is better"
            y_label = f"{measure.name}{f', {measure.unit}' if measure.unit else ''}"
            name = f"rate-{index + 1}-{_file_name(measure.name)}"
            plots.append(Plot(name, f"{y_label} {arrow}", f"rate, {results.rate_unit}", y_label, series))
    return plots


def _mark(told: Summary, measure: Measure, unit: str, member: bool) -> Mark:
    value, rate = told.metrics[measure.name], told.rates[measure.name]
    label = f"{told.point.name}: {number(rate)} {unit}, {measure.name} {number(value.mean)} ({spread(value)})"
    return Mark(rate, value.mean, label, value.low, value.high, member)


def front(summaries: Sequence[Summary], measure: Measure) -> frozenset[str]:
    """Names of the points that no other beats in rate, this metric and speed of encoding and decoding together.

    A speed that was not measured counts as 0.
    """
    known = [told for told in summaries if measure.name in told.metrics]
    if not known:
        return frozenset()
    rates = [told.rates[measure.name] for told in known]
    qualities = [measure.sign * told.metrics[measure.name].mean for told in known]
    speeds = [told.point.speed.both if told.point.speed else 0.0 for told in known]
    members = pareto(rates, qualities, speeds)
    return frozenset(told.point.name for told, member in zip(known, members, strict=True) if member)


def by_band(bands: Mapping[str, Bands]) -> list[Plot]:
    """Distortion over frequency, a series for each point."""
    kinds = {
        "level-distance": ("distance of levels, dB", {name: one.level_distance for name, one in bands.items()}),
        "noise-to-signal": ("noise to signal, dB", {name: one.noise_to_signal for name, one in bands.items()}),
    }
    plots = []
    for kind, (what, values) in kinds.items():
        series = []
        for slot, (point, told) in enumerate(values.items()):
            edges, unit = bands[point].edges, bands[point].unit
            centres = [(low * high) ** 0.5 or high / 2 for low, high in pairwise(edges)]
            known = [(x, y) for x, y in zip(centres, told, strict=True) if y is not None]
            marks = [Mark(x, y, f"{point}: {number(y)} at {number(x)} {unit}") for x, y in known]
            series += [Series(point, slot, marks)] if marks else []
        if series:
            plots.append(Plot(kind, f"{what}, by frequency ↓ lower is better", f"frequency, {unit}", what, series))
    return plots


def by_flips(flipped: Mapping[str, Results]) -> list[Plot]:
    """Each metric over the share of flipped bits, a series for each point."""
    results = next(iter(flipped.values()))
    plots = []
    for index, measure in enumerate(results.metrics):
        series = []
        for slot, (point, damaged) in enumerate(flipped.items()):
            marks = []
            for told in damaged.summary():
                value, share = told.metrics.get(measure.name), told.point.setting
                if value is not None and share:
                    label = f"{point}: {number(value.mean)} ({spread(value)}) with {share:g} of the bits flipped"
                    marks.append(Mark(share, value.mean, label, value.low, value.high))
            series += [Series(point, slot, sorted(marks, key=lambda mark: mark.x))] if marks else []
        if series:
            y_label = f"{measure.name}{f', {measure.unit}' if measure.unit else ''}"
            name = f"bit-flips-{index + 1}-{_file_name(measure.name)}"
            plots.append(Plot(name, f"{y_label}, of damaged codes", "share of bits flipped", y_label, series))
    return plots


def _file_name(text: str) -> str:
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in text.lower())
