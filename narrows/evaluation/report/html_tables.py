"""The tables of a report."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from math import log2

from narrows.evaluation.comparison import family_bd_rate
from narrows.evaluation.curves import Delta
from narrows.evaluation.report.plots import interval_text, pareto_points
from narrows.evaluation.results import CODING, MeasuredPoint, MetricInfo, PointSummary, Results
from narrows.evaluation.statistics import Interval
from narrows.media.table import MEDIA
from narrows.report.markup import Html, h, join
from narrows.report.number_format import count, large, number

Column = tuple[str, str, list[Html]]  # name, unit or note, cells
_SAME_CODEC = h("td", class_="same")
_EMPTY = h("td", h("span", "–", class_="none"), data_value="")


def points_table(results: Results, summaries: Sequence[PointSummary]) -> Html:
    """Table with one row for each operating point; every column can be sorted."""
    columns: list[Column] = [("rate", results.rate_unit, [_interval_cell(summary.rate) for summary in summaries])]
    for metric in results.metrics:
        front = pareto_points(summaries, metric)
        cells = [
            _interval_cell(summary.metrics.get(metric.name), summary.failed[metric.name], summary.point.name in front)
            for summary in summaries
        ]
        columns.append((metric.name, f"{metric.unit} {'↑' if metric.better == 'higher' else '↓'}".strip(), cells))
    columns += [column for column in _cost_columns(results, summaries) if any(cell is not _EMPTY for cell in column[2])]
    heads = [_sortable("point", ""), *(_sortable(name, unit) for name, unit, _ in columns)]
    rows = []
    for index, summary in enumerate(summaries):
        failed = summary.failed[CODING]
        items = count(summary.items, "item") + (f", {failed} not coded" if failed else "")
        name = h("th", summary.point.name, h("small", items), scope="row", data_value=index)
        rows.append(h("tr", name, *(cells[index] for _, _, cells in columns)))
    return _table("Operating points", h("thead", h("tr", *heads)), rows, "sortable")


def _cost_columns(results: Results, summaries: Sequence[PointSummary]) -> list[Column]:
    medium = MEDIA[results.medium]
    speeds = {summary.point.name: asdict(summary.point.speed) for summary in summaries if summary.point.speed}

    def cells(field: str) -> list[Html]:
        return [_number_cell(speeds.get(summary.point.name, {}).get(field), large) for summary in summaries]

    payloads = [_number_cell(summary.total_payload_rate, number) for summary in summaries]
    return [
        ("payload", results.rate_unit, payloads),
        ("codes", f"per {medium.amount_unit}", [_number_cell(summary.codes, number) for summary in summaries]),
        ("codes used", "", [_number_cell(summary.codes_used, "{:.0%}".format) for summary in summaries]),
        ("perplexity", "", [_number_cell(summary.perplexity, number) for summary in summaries]),
        ("encode", medium.speed_unit, cells("encode")),
        ("decode", medium.speed_unit, cells("decode")),
        ("peak memory", "MiB", cells("peak_mib")),
        ("parameters", "", cells("parameters")),
        ("FLOPs", f"per {medium.amount_unit}", cells("flops")),
    ]


def bd_rate_table(results: Results, metric: MetricInfo) -> Html:
    """Table that compares each codec (row) with each other codec as anchor (column)."""
    families = results.families
    heads = [h("th", "codec ╲ anchor", scope="col"), *(h("th", anchor, scope="col") for anchor in families)]
    rows = []
    for family in families:
        cells = [
            _delta_cell(family_bd_rate(metric, (results, anchor), (results, family)))
            if family != anchor
            else _SAME_CODEC
            for anchor in families
        ]
        rows.append(h("tr", h("th", family, scope="row"), *cells))
    return _table(f"BD-rate by {metric.name}", h("thead", h("tr", *heads)), rows)


def _delta_cell(delta: Delta | str) -> Html:
    if isinstance(delta, str):
        return h("td", h("small", delta), class_="none")
    interval = delta.interval
    class_ = "better" if interval and interval.high < 0 else "worse" if interval and interval.low > 0 else None
    warnings = [f"overlap {delta.overlap:.0%}"] + (["saturated"] if delta.saturated else [])
    notes = [h("small", f"{_signed(interval.low)} to {_signed(interval.high)}")] if interval else []
    notes += [h("small", ", ".join(warnings), class_="warning")] if delta.unreliable else []
    return h("td", f"{_signed(delta.change)} %", *notes, class_=class_)


def codebook_table(points: Sequence[MeasuredPoint]) -> Html:
    """Table with one row for each codebook of each operating point."""
    names = ("point", "codebook", "entries", "used", "perplexity", "entropy, bits per code", "maximum entropy")
    rows = []
    for point in points:
        for index, usage in enumerate(point.codebooks):
            values = (f"{usage.used:.0%}", number(usage.perplexity), f"{usage.entropy:.2f}", f"{log2(usage.size):.2f}")
            cells = (str(index + 1), str(usage.size), *values)
            rows.append(h("tr", h("th", point.name, scope="row"), *(h("td", cell) for cell in cells)))
    return _table("Codebook usage", h("thead", h("tr", *(h("th", name, scope="col") for name in names))), rows)


def _table(caption: str, head: Html, rows: Sequence[Html], class_: str | None = None) -> Html:
    """A table in a region that scrolls horizontally and can be focused with the keyboard."""
    table = h("table", h("caption", caption, class_="visually-hidden"), head, h("tbody", *rows), class_=class_)
    return h("div", table, class_="scroll", role="region", aria_label=caption, tabindex=0)


def _sortable(name: str, unit: str) -> Html:
    button = h("button", name, h("small", unit), type="button")
    return h("th", button, scope="col", aria_sort="none")


def _interval_cell(interval: Interval | None, failed: int = 0, on_front: bool = False) -> Html:
    notes = [h("small", f"{failed} failed", class_="warning")] if failed else []
    if interval is None:
        return h("td", h("span", "–", class_="none"), *notes, data_value="")
    mean = number(interval.mean)
    marker = h("span", "●", class_="pareto-marker", title="on the Pareto front")
    content = join(h("b", mean), marker) if on_front else join(mean)
    return h("td", content, h("small", interval_text(interval)), *notes, data_value=repr(interval.mean))


def _number_cell(value: float | None, text: Callable[[float], str]) -> Html:
    return _EMPTY if value is None else h("td", text(value), data_value=repr(value))


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")
