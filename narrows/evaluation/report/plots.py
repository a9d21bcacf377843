"""The plots of an evaluation."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from narrows.evaluation.bands import BandDistortion
from narrows.evaluation.curves import pareto
from narrows.evaluation.results import MetricInfo, PointSummary, Results
from narrows.evaluation.statistics import Interval
from narrows.report.number_format import number
from narrows.report.plot import Mark, Plot, Series


def rate_quality_plots(results: Results, summaries: Sequence[PointSummary]) -> list[Plot]:
    """One plot for each metric that has values, with one series for each family."""
    plots = []
    for index, metric in enumerate(results.metrics):
        front = pareto_points(summaries, metric)
        series = []
        for style, family in enumerate(results.families):
            of_family = [s for s in summaries if s.point.family == family and metric.name in s.metrics]
            marks = [_mark(summary, metric, results.rate_unit, summary.point.name in front) for summary in of_family]
            if marks:
                series.append(Series(family, style, sorted(marks, key=lambda mark: mark.x)))
        if series:
            arrow = "↑ higher is better" if metric.better == "higher" else "↓ lower is better"
            y_label = f"{metric.name}{f', {metric.unit}' if metric.unit else ''}"
            name = f"rate-{index + 1}-{_file_name(metric.name)}"
            plots.append(Plot(name, f"{y_label} {arrow}", f"rate, {results.rate_unit}", y_label, series))
    return plots


def _mark(summary: PointSummary, metric: MetricInfo, unit: str, on_front: bool) -> Mark:
    value, rate = summary.metrics[metric.name], summary.metric_rates[metric.name]
    values = f"{number(rate)} {unit}, {metric.name} {number(value.mean)} ({interval_text(value)})"
    return Mark(rate, value.mean, f"{summary.point.name}: {values}", value.low, value.high, on_front)


def pareto_points(summaries: Sequence[PointSummary], metric: MetricInfo) -> frozenset[str]:
    """Names of the points on the Pareto front of rate, metric, and speed of encoding plus decoding.

    A speed that was not measured counts as 0.
    """
    measured = [summary for summary in summaries if metric.name in summary.metrics]
    if not measured:
        return frozenset()
    rates = [summary.metric_rates[metric.name] for summary in measured]
    qualities = [metric.sign * summary.metrics[metric.name].mean for summary in measured]
    speeds = [summary.point.speed.round_trip if summary.point.speed else 0.0 for summary in measured]
    front = pareto(rates, qualities, speeds)
    return frozenset(summary.point.name for summary, on_front in zip(measured, front, strict=True) if on_front)


def band_plots(bands: Mapping[str, BandDistortion]) -> list[Plot]:
    """Plots of distortion by frequency, with one series for each operating point."""
    distances = {name: distortion.log_spectral_distance for name, distortion in bands.items()}
    ratios = {name: distortion.noise_to_signal for name, distortion in bands.items()}
    plots = []
    for name, y_label, values in (
        ("log-spectral-distance", "log-spectral distance, dB", distances),
        ("noise-to-signal", "noise-to-signal ratio, dB", ratios),
    ):
        series = []
        for style, (point, band_values) in enumerate(values.items()):
            edges, unit = bands[point].edges, bands[point].unit
            centres = [(low * high) ** 0.5 or high / 2 for low, high in pairwise(edges)]
            measured = [(x, y) for x, y in zip(centres, band_values, strict=True) if y is not None]
            marks = [Mark(x, y, f"{point}: {number(y)} at {number(x)} {unit}") for x, y in measured]
            series += [Series(point, style, marks)] if marks else []
        if series:
            title = f"{y_label}, by frequency ↓ lower is better"
            plots.append(Plot(name, title, f"frequency, {unit}", y_label, series))
    return plots


def bit_flip_plots(bit_flips: Mapping[str, Results]) -> list[Plot]:
    """One plot of each metric by bit error probability, with one series for each operating point."""
    results = next(iter(bit_flips.values()))
    plots = []
    for index, metric in enumerate(results.metrics):
        series = []
        for style, (point, damaged) in enumerate(bit_flips.items()):
            marks = []
            for summary in damaged.summaries():
                value, p = summary.metrics.get(metric.name), summary.point.setting
                if value is not None and p:
                    label = f"{point}: {number(value.mean)} ({interval_text(value)}) at bit error probability {p:g}"
                    marks.append(Mark(p, value.mean, label, value.low, value.high))
            series += [Series(point, style, sorted(marks, key=lambda mark: mark.x))] if marks else []
        if series:
            y_label = f"{metric.name}{f', {metric.unit}' if metric.unit else ''}"
            name = f"bit-flips-{index + 1}-{_file_name(metric.name)}"
            plots.append(Plot(name, f"{y_label}, with bit errors", "bit error probability", y_label, series))
    return plots


def interval_text(interval: Interval) -> str:
    """The ends of an interval, with as many digits as `number` gives."""
    return f"{number(interval.low)} to {number(interval.high)}"


def _file_name(text: str) -> str:
    return "".join(char if char.isascii() and char.isalnum() else "-" for char in text.lower())
