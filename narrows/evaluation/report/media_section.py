"""The media of a report: players of one recording to switch between, two versions of an image under a slider.

A video would be a player like audio: the script treats all players alike.
"""

from narrows.evaluation.embedding import REFERENCE, EmbeddedItem, EmbeddedMedia
from narrows.evaluation.report.markup import Html, h, join
from narrows.evaluation.report.number_format import count, number
from narrows.evaluation.results import Results

KEYS = 10  # digits 0 to 9


def media_section(embedded: EmbeddedMedia, results: Results) -> Html:
    """Section with all items, of which the first is open."""
    parts = [h("p", f"Embedded as: {embedded.encoding}.")]
    if any(item.medium == "audio" for item in embedded.items):
        keys = [h("kbd", key) for key in ("1", "9", "0", "space")]
        texts = (" to ", " switch at the same position, ", " is the reference, ", " plays and pauses.")
        parts.append(h("p", "Keys: ", *(part for pair in zip(keys, texts, strict=True) for part in pair)))
    if embedded.omitted:
        text = f"{count(len(embedded.omitted), 'item')} omitted to keep the page small: "
        parts.append(h("p", text, ", ".join(embedded.omitted), class_="warning"))
    items = [_item(item, results, index) for index, item in enumerate(embedded.items)]
    return join(*parts, *items)


def _item(item: EmbeddedItem, results: Results, index: int) -> Html:
    body = _players(item, results) if item.medium == "audio" else _slider(item, results)
    return h("details", h("summary", item.name), body, class_="item", open=index == 0)


def _players(item: EmbeddedItem, results: Results) -> Html:
    rows = []
    for index, (name, uri) in enumerate(item.versions):
        key = str(index) if index < KEYS else "·"
        pressed = "true" if index == 0 else "false"
        button = h("button", key, type="button", aria_pressed=pressed, aria_label=f"Select {name}")
        player = h("audio", controls=True, preload="auto", src=uri, aria_label=f"{item.name}, {name}")
        label = h("div", h("strong", name), h("small", _values(item.name, name, results)), class_="label")
        rows.append(h("li", button, label, player))
    return h("ol", *rows, class_="versions")


def _slider(item: EmbeddedItem, results: Results) -> Html:
    names = [name for name, _ in item.versions]
    last = len(names) - 1
    images = [
        h("img", src=uri, alt=f"{item.name}, {name}", class_="base" if index == 0 else None)
        for index, (name, uri) in enumerate(item.versions)
    ]
    values = [_values(item.name, name, results) for name in names]
    stage = h("div", *images, h("div", class_="edge", aria_hidden="true"), class_="stage")
    label = "Visible part of the left image, percent"
    slider = h("input", type="range", min=0, max=100, value=50, aria_label=label)
    sides = h("div", _choice("left", names, values, 0), _choice("right", names, values, last), class_="sides")
    return h("div", h("div", stage, slider, class_="view"), sides, class_="compare")


def _choice(side: str, names: list[str], values: list[str], selected: int) -> Html:
    options = [
        h("option", name, value=index, selected=index == selected, data_values=values[index])
        for index, name in enumerate(names)
    ]
    return h("label", side, h("select", *options, class_=side), h("small", values[selected], class_="values"))


def _values(item: str, point: str, results: Results) -> str:
    """Rate and metrics of an item at an operating point, as one line."""
    result = results.by_point.get(point, {}).get(item)
    if point == REFERENCE or result is None or not result.coded:
        return ""
    units = {metric.name: f" {metric.unit}" if metric.unit else "" for metric in results.metrics}
    values = [f"{name} {number(result.metrics[name])}{unit}" for name, unit in units.items() if name in result.metrics]
    return " · ".join([f"{number(results.rate(result))} {results.rate_unit}", *values])
