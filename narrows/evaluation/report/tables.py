"""The tables of a report."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from math import log2

from narrows.evaluation.comparison import family_delta
from narrows.evaluation.curves import Delta
from narrows.evaluation.metrics.codebooks import CodebookUse
from narrows.evaluation.report.markup import Html, h, join
from narrows.evaluation.report.plots import front
from narrows.evaluation.report.words import count, large, number, spread
from narrows.evaluation.results import CODING, Measure, Results, Summary
from narrows.evaluation.statistics import Interval

Column = tuple[str, str, list[Html]]  # name, unit or note, cells
_OWN = h("td", class_="own")
_EMPTY = h("td", h("span", "–", class_="none"), data_value="")


def operating_points(results: Results, summaries: Sequence[Summary]) -> Html:
    """One line for each point; every column sorts."""
    columns: list[Column] = [("rate", results.rate_unit, [_interval(told.rate) for told in summaries])]
    for measure in results.metrics:
        members = front(summaries, measure)
        cells = [
            _interval(told.metrics.get(measure.name), told.failed[measure.name], told.point.name in members)
            for told in summaries
        ]
        columns.append((measure.name, f"{measure.unit} {'↑' if measure.better == 'higher' else '↓'}".strip(), cells))
    columns += [column for column in _costs(results, summaries) if any(cell is not _EMPTY for cell in column[2])]
    heads = [_sortable("point", ""), *(_sortable(name, unit) for name, unit, _ in columns)]
    lines = []
    for index, told in enumerate(summaries):
        of_point = count(told.items, "item") + (f", {told.failed[CODING]} not coded" if told.failed[CODING] else "")
        name = h("th", told.point.name, h("small", of_point), scope="row", data_value=index)
        lines.append(h("tr", name, *(cells[index] for _, _, cells in columns)))
    return _table("Operating points", h("thead", h("tr", *heads)), lines, "sorts")


def _costs(results: Results, summaries: Sequence[Summary]) -> list[Column]:
    sound = results.medium == "audio"
    unit = "× real time" if sound else "megapixel/s"
    known = {told.point.name: asdict(told.point.speed) for told in summaries if told.point.speed}

    def cells(what: str) -> list[Html]:
        return [_plain(known.get(told.point.name, {}).get(what), large) for told in summaries]

    return [
        ("payload", results.rate_unit, [_plain(told.payload, number) for told in summaries]),
        ("encode", unit, cells("encode")),
        ("decode", unit, cells("decode")),
        ("peak", "MiB", cells("peak_mib")),
        ("parameters", "", cells("parameters")),
        ("FLOPs", "a second" if sound else "a pixel", cells("flops")),
    ]


def bd_rates(results: Results, measure: Measure) -> Html:
    """Each codec against each other one as anchor: percent of the rate at an equal value of the metric."""
    families = results.families
    heads = [h("th", "codec ╲ anchor", scope="col"), *(h("th", anchor, scope="col") for anchor in families)]
    lines = []
    for family in families:
        cells = [
            _delta(family_delta(measure, (results, anchor), (results, family))) if family != anchor else _OWN
            for anchor in families
        ]
        lines.append(h("tr", h("th", family, scope="row"), *cells))
    return _table(f"BD-rate by {measure.name}", h("thead", h("tr", *heads)), lines)


def _delta(delta: Delta | str) -> Html:
    if isinstance(delta, str):
        return h("td", h("small", delta), class_="none")
    sure = delta.interval
    look = "better" if sure and sure.high < 0 else "worse" if sure and sure.low > 0 else None
    doubts = [f"overlap {delta.overlap:.0%}"] + (["saturates"] if delta.saturated else [])
    notes = [h("small", f"{_signed(sure.low)} to {_signed(sure.high)}")] if sure else []
    notes += [h("small", ", ".join(doubts), class_="doubt")] if delta.doubtful else []
    return h("td", f"{_signed(delta.change)} %", *notes, class_=look)


def codebook_use(codebooks: Mapping[str, Sequence[CodebookUse]]) -> Html:
    """One line for each codebook."""
    names = ("point", "codebook", "entries", "used", "perplexity", "entropy, bits a code", "at most")
    lines = []
    for point, uses in codebooks.items():
        for index, use in enumerate(uses):
            told = (f"{use.used:.0%}", number(use.perplexity), f"{use.entropy:.2f}", f"{log2(use.size):.2f}")
            cells = (str(index + 1), str(use.size), *told)
            lines.append(h("tr", h("th", point, scope="row"), *(h("td", cell) for cell in cells)))
    return _table("Use of codebooks", h("thead", h("tr", *(h("th", name, scope="col") for name in names))), lines)


def _table(caption: str, head: Html, lines: Sequence[Html], class_: str | None = None) -> Html:
    """In a region of its own that scrolls sideways, reachable by keyboard."""
    table = h("table", h("caption", caption, class_="unseen"), head, h("tbody", *lines), class_=class_)
    return h("div", table, class_="scroll", role="region", aria_label=caption, tabindex=0)


def _sortable(name: str, unit: str) -> Html:
    button = h("button", name, h("small", unit), type="button")
    return h("th", button, scope="col", aria_sort="none")


def _interval(interval: Interval | None, failed: int = 0, member: bool = False) -> Html:
    notes = [h("small", f"{failed} failed", class_="doubt")] if failed else []
    if interval is None:
        return h("td", h("span", "–", class_="none"), *notes, data_value="")
    mean = number(interval.mean)
    shown = join(h("b", mean), h("span", "●", class_="member", title="Pareto member")) if member else join(mean)
    return h("td", shown, h("small", spread(interval)), *notes, data_value=repr(interval.mean))


def _plain(value: float | None, shown: Callable[[float], str]) -> Html:
    return _EMPTY if value is None else h("td", shown(value), data_value=repr(value))


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")
