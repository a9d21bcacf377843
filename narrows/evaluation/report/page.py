"""The HTML page of a report, with inline style and script; it loads nothing from the network."""

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources

from narrows.evaluation.by_medium import EVALUATIONS
from narrows.evaluation.embedding import EmbeddedMedia
from narrows.evaluation.report.html_tables import bd_rate_table, codebook_table, points_table
from narrows.evaluation.report.markup import Html, h, join
from narrows.evaluation.report.media_section import media_section
from narrows.evaluation.report.number_format import count, number
from narrows.evaluation.report.plots import Plot
from narrows.evaluation.report.svg import drawing, swatch
from narrows.evaluation.results import PointSummary, Results
from narrows.media.table import MEDIA


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
    sections: list[tuple[str, str, list[Html]]] = [
        ("curves", "Rate and quality", [_legend(results.families), _figures(curves)] if curves else []),
        ("bd-rate", "BD-rate", _bd_rates(results) if len(results.families) > 1 else []),
        ("points", "Operating points", [about_points, points_table(results, summaries)]),
        ("media", media_title, [media_section(embedded, results)] if embedded.items or embedded.omitted else []),
        ("more", "Bit errors and spectrum", [_figures(more, with_legends=True)] if more else []),
        ("codebooks", "Codebook usage", [codebook_table(with_codebooks)] if with_codebooks else []),
        ("metrics", "Metrics", [_metrics(results)]),
        ("skipped", "Skipped and failed", _skipped(results)),
        ("setup", "How this was measured", [_definitions(results.setup), _definitions(_keys(results), "keys")]),
    ]
    used = [section for section in sections if section[2]]
    links = [h("a", name, href=f"#{anchor}") for anchor, name, _ in used]
    body = [h("section", h("h2", name, id=anchor), *parts) for anchor, name, parts in used]
    header = h(
        "header", h("h1", title), h("p", _extent(results), class_="extent"), h("nav", *links, aria_label="Sections")
    )
    return _document(title, join(header, h("main", *body)))


def _document(title: str, body: Html) -> str:
    folder = resources.files("narrows.evaluation.report")
    style, script = ((folder / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    policy = (
        "default-src 'none'; img-src data:; media-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src {_hash(style)}; script-src {_hash(script)}"
    )
    head = h(
        "head",
        h("meta", charset="utf-8"),
        h("meta", http_equiv="Content-Security-Policy", content=policy),
        h("meta", name="viewport", content="width=device-width, initial-scale=1"),
        h("title", title),
        h("link", rel="icon", href="data:,"),
        h("style", Html(style)),
    )
    tooltip = h("div", id="tooltip", role="status", hidden=True)
    return "<!doctype html>\n" + h("html", head, h("body", body, tooltip, h("script", Html(script))), lang="en") + "\n"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _extent(results: Results) -> str:
    amounts = {result.item: result.amount for result in results.item_results}
    total = sum(amounts.values())
    medium = MEDIA[results.medium]
    size = f"{number(total / medium.total_divisor)} {medium.total_unit}"
    points = f"{count(len(results.points), 'operating point')} of {count(len(results.families), 'codec')}"
    parts = [count(len(amounts), "item"), size, points, count(len(results.metrics), "metric")]
    return " · ".join(parts + [results.setup[name] for name in ("data", "date") if name in results.setup])


def _legend(names: Iterable[str]) -> Html:
    """A button for each series, which hides or shows it."""
    buttons = [
        h("li", h("button", swatch(style), name, type="button", aria_pressed="true", data_series=name))
        for style, name in enumerate(names)
    ]
    return h("ul", *buttons, class_="legend", aria_label="Shown in the plots")


def _figures(plots: Sequence[Plot], with_legends: bool = False) -> Html:
    """Plots in a grid, each with its own legend if they do not share one."""
    figures = []
    for plot in plots:
        files = [
            h("a", kind.upper(), href=f"plots/{plot.name}.{kind}", aria_label=f"{plot.title} as {kind.upper()}")
            for kind in ("png", "csv")
        ]
        caption = h("figcaption", h("h3", plot.title), h("span", *files, class_="files"))
        figure = h("figure", caption, drawing(plot))
        names = (series.name for series in plot.series)
        figures.append(h("div", figure, _legend(names)) if with_legends else figure)
    return h("div", *figures, class_="plots")


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
    parts = [_definitions(skipped)] if skipped else []
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


def _definitions(texts: Mapping[str, str], class_: str | None = None) -> Html:
    return h("dl", *(part for name, text in texts.items() for part in (h("dt", name), h("dd", text))), class_=class_)
