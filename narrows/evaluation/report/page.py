"""The HTML page of an evaluation."""

from collections import Counter
from collections.abc import Sequence

from narrows.evaluation.by_medium import EVALUATIONS
from narrows.evaluation.report.html_tables import bd_rate_table, codebook_table, points_table
from narrows.evaluation.results import PointSummary, Results
from narrows.media.table import MEDIA
from narrows.report.document import definitions, document, figures, legend
from narrows.report.embedding import REFERENCE, EmbeddedMedia
from narrows.report.markup import Html, h
from narrows.report.media_section import media_section
from narrows.report.number_format import count, number
from narrows.report.plot import Plot

FILES = ("png", "csv")  # suffixes of the files of a plot


def page(
    results: Results,
    summaries: Sequence[PointSummary],
    curves: Sequence[Plot],
    more: Sequence[Plot],
    embedded: EmbeddedMedia,
) -> str:
    """Builds the HTML document.

    Args:
        results: The results.
        summaries: Summaries of the results.
        curves: Rate-quality plots, which share one legend.
        more: Other plots, each with its own legend.
        embedded: Media.

    Returns:
        HTML.
    """
    title = f"Rate and quality of {results.medium} codecs"
    about_points = h(
        "p",
        "Means over items with 95 % confidence intervals. ",
        h("span", "●", class_="pareto-marker"),
        " marks points on the Pareto front: no other point is at least as good in rate, this metric and speed, and ",
        "better in one of them. Click a column heading to sort.",
    )
    with_codebooks = [point for point in results.points if point.codebooks]
    media_title = EVALUATIONS[results.medium].heading
    media = [media_section(embedded, lambda item, point: _values(item, point, results))]
    sections: list[tuple[str, str, list[Html]]] = [
        ("curves", "Rate and quality", [legend(results.families), figures(curves, FILES)] if curves else []),
        ("bd-rate", "BD-rate", _bd_rates(results) if len(results.families) > 1 else []),
        ("points", "Operating points", [about_points, points_table(results, summaries)]),
        ("media", media_title, media if embedded.items or embedded.omitted else []),
        ("more", "Bit errors and spectrum", [figures(more, FILES, with_legends=True)] if more else []),
        ("codebooks", "Codebook usage", [codebook_table(with_codebooks)] if with_codebooks else []),
        ("metrics", "Metrics", [_metrics(results)]),
        ("skipped", "Skipped and failed", _skipped(results)),
        ("setup", "How this was measured", [definitions(results.setup), definitions(_keys(results), "keys")]),
    ]
    return document(title, _extent(results), sections)


def _extent(results: Results) -> str:
    amounts = {result.item: result.amount for result in results.item_results}
    total = sum(amounts.values())
    medium = MEDIA[results.medium]
    size = f"{number(total / medium.total_divisor)} {medium.total_unit}"
    points = f"{count(len(results.points), 'operating point')} of {count(len(results.families), 'codec')}"
    parts = [count(len(amounts), "item"), size, points, count(len(results.metrics), "metric")]
    return " · ".join(parts + [results.setup[name] for name in ("data", "date") if name in results.setup])


def _bd_rates(results: Results) -> list[Html]:
    about = h(
        "p",
        "How much more rate a codec (row) needs than an anchor (column) for the same value of the metric; negative: ",
        "less. Below it the 95 % confidence interval over items, the same items for both codecs. Overlap is the ",
        "common range of quality as a fraction of the range of both curves; it is shown below 75 %.",
    )
    blocks = [
        h("details", h("summary", f"by {metric.name}"), bd_rate_table(results, metric), open=index == 0)
        for index, metric in enumerate(results.metrics)
    ]
    return [about, *blocks]


def _metrics(results: Results) -> Html:
    parts = []
    for metric in results.metrics:
        unit = f", {metric.unit}" if metric.unit else ""
        parts += [
            h("dt", f"{metric.name}{unit}"),
            h("dd", metric.description, h("small", f"{metric.better} is better")),
        ]
    return h("dl", *parts)


def _skipped(results: Results) -> list[Html]:
    """Points and items that could not be measured, and why metrics have no value for some items."""
    skipped = {**results.skipped, **results.unreadable}
    parts = [definitions(skipped)] if skipped else []
    reasons = Counter((name, reason) for result in results.item_results for name, reason in result.failures.items())
    if reasons:
        lines = [
            h("li", f"{name}: {reason}", h("small", f"× {times}")) for (name, reason), times in sorted(reasons.items())
        ]
        parts += [h("h3", "Items without a value"), h("ul", *lines)]
    return parts


def _keys(results: Results) -> dict[str, str]:
    """Options and versions, by the names of the points that share them."""
    names: dict[str, list[str]] = {}
    for point in results.points:
        key = ", ".join(f"{name} {value}" for name, value in sorted(point.key.items()))
        names.setdefault(key, []).append(point.name)
    return {", ".join(points): key for key, points in names.items()}


def _values(item: str, point: str, results: Results) -> str:
    """Rate and metrics of an item at an operating point, as one line."""
    result = results.by_point.get(point, {}).get(item)
    if point == REFERENCE or result is None or not result.coded:
        return ""
    units = {metric.name: f" {metric.unit}" if metric.unit else "" for metric in results.metrics}
    values = [f"{name} {number(result.metrics[name])}{unit}" for name, unit in units.items() if name in result.metrics]
    return " · ".join([f"{number(results.rate(result))} {results.rate_unit}", *values])
