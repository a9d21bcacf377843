"""The page: sections in their order, style and script inside, nothing from the network."""

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources

from narrows.evaluation.metrics.codebooks import CodebookUse
from narrows.evaluation.report import samples, tables
from narrows.evaluation.report.markup import Html, h, join
from narrows.evaluation.report.media import Embedded
from narrows.evaluation.report.plots import Plot
from narrows.evaluation.report.svg import drawing, swatch
from narrows.evaluation.report.words import count, number
from narrows.evaluation.results import Results, Summary


def page(
    results: Results,
    summaries: Sequence[Summary],
    curves: Sequence[Plot],
    more: Sequence[Plot],
    embedded: Embedded,
    codebooks: Mapping[str, Sequence[CodebookUse]],
) -> str:
    """The whole document. curves: rate and quality; more: other plots, each with its own legend."""
    title = f"Rate and quality of {'sound' if results.medium == 'audio' else 'picture'} codecs"
    about_points = h(
        "p",
        "Means over items with their 95 % intervals. ",
        h("span", "●", class_="member"),
        " marks Pareto members: no other point is as good in rate, in that metric and in speed, and better in one. ",
        "Click a heading to sort.",
    )
    media = "Listen" if results.medium == "audio" else "Look"
    sections: list[tuple[str, str, list[Html]]] = [
        ("curves", "Rate and quality", [_legend(results.families), _figures(curves)] if curves else []),
        ("bd-rate", "BD-rate", _bd_rates(results) if len(results.families) > 1 else []),
        ("points", "Operating points", [about_points, tables.operating_points(results, summaries)]),
        ("media", media, [samples.section(embedded, results)] if embedded.items or embedded.left_out else []),
        ("more", "Robustness and spectrum", [_figures(more, with_legends=True)] if more else []),
        ("codebooks", "Codebooks", [tables.codebook_use(codebooks)] if codebooks else []),
        ("metrics", "What the metrics mean", [_metrics(results)]),
        ("left-out", "Left out", _left_out(results)),
        ("setup", "How this was measured", [_pairs(results.setup), _pairs(_keys(results), "keys")]),
    ]
    shown = [one for one in sections if one[2]]
    links = [h("a", name, href=f"#{anchor}") for anchor, name, _ in shown]
    body = [h("section", h("h2", name, id=anchor), *parts) for anchor, name, parts in shown]
    head = h(
        "header", h("h1", title), h("p", _extent(results), class_="extent"), h("nav", *links, aria_label="Sections")
    )
    return _document(title, join(head, h("main", *body)))


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
    tip = h("div", id="tip", role="status", hidden=True)
    return "<!doctype html>\n" + h("html", head, h("body", body, tip, h("script", Html(script))), lang="en") + "\n"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _extent(results: Results) -> str:
    amounts = {row.item: row.amount for row in results.rows}
    total = sum(amounts.values())
    size = f"{number(total)} s" if results.medium == "audio" else f"{number(total / 1e6)} megapixels"
    points = f"{count(len(results.points), 'operating point')} of {count(len(results.families), 'codec')}"
    told = [count(len(amounts), "item"), size, points, count(len(results.metrics), "metric")]
    known = [results.setup[name] for name in ("data", "date") if name in results.setup]
    return " · ".join(told + known)


def _legend(names: Iterable[str]) -> Html:
    """A button for each series, which hides and shows it."""
    buttons = [
        h("li", h("button", swatch(slot), name, type="button", aria_pressed="true", data_series=name))
        for slot, name in enumerate(names)
    ]
    return h("ul", *buttons, class_="legend", aria_label="Shown in the plots")


def _figures(plots: Sequence[Plot], with_legends: bool = False) -> Html:
    """Plots side by side where there is room; a legend under each, where they do not share one."""
    figures = []
    for plot in plots:
        files = [
            h("a", kind.upper(), href=f"plots/{plot.name}.{kind}", aria_label=f"{plot.title} as {kind.upper()}")
            for kind in ("png", "csv")
        ]
        caption = h("figcaption", h("h3", plot.title), h("span", *files, class_="files"))
        figure = h("figure", caption, drawing(plot))
        figures.append(h("div", figure, _legend(one.name for one in plot.series)) if with_legends else figure)
    return h("div", *figures, class_="plots")


def _bd_rates(results: Results) -> list[Html]:
    about = h(
        "p",
        "How much more of the rate a codec (line) takes than an anchor (column) for the same value of the metric, ",
        "less where negative. Below it the 95 % interval over items, the same items for both. Overlap is the share of ",
        "the two curves' qualities that both reach; it is told below 75 %.",
    )
    blocks = [
        h("details", h("summary", f"by {measure.name}"), tables.bd_rates(results, measure), open=index == 0)
        for index, measure in enumerate(results.metrics)
    ]
    return [about, *blocks]


def _metrics(results: Results) -> Html:
    told = []
    for measure in results.metrics:
        unit = f", {measure.unit}" if measure.unit else ""
        told += [h("dt", f"{measure.name}{unit}"), h("dd", measure.about, h("small", f"{measure.better} is better"))]
    return h("dl", *told)


def _left_out(results: Results) -> list[Html]:
    """Points and items that could not be measured, and why metrics have no number for some items."""
    parts = [_pairs(left_out)] if (left_out := {**results.left_out, **results.unread}) else []
    reasons = Counter((name, reason) for row in results.rows for name, reason in row.failures.items())
    if reasons:
        lines = [
            h("li", f"{name}: {reason}", h("small", f"× {times}")) for (name, reason), times in sorted(reasons.items())
        ]
        parts += [h("h3", "Items without a number"), h("ul", *lines)]
    return parts


def _keys(results: Results) -> dict[str, str]:
    """What the results depend on, of the points that have it in common."""
    names: dict[str, list[str]] = {}
    for point in results.points:
        told = ", ".join(f"{name} {value}" for name, value in sorted(point.key.items()))
        names.setdefault(told, []).append(point.name)
    return {", ".join(same): told for told, same in names.items()}


def _pairs(pairs: Mapping[str, str], class_: str | None = None) -> Html:
    return h("dl", *(part for name, told in pairs.items() for part in (h("dt", name), h("dd", told))), class_=class_)
