"""The media of a report: versions of a sound to switch between, two versions of a picture under a slider.

A video would be a version like a sound: the script knows players, whatever they play.
"""

from narrows.evaluation.report.markup import Html, h, join
from narrows.evaluation.report.media import REFERENCE, Embedded, Item
from narrows.evaluation.report.words import count, number
from narrows.evaluation.results import Results

KEYS = 10  # 0 to 9


def section(embedded: Embedded, results: Results) -> Html:
    """All items, the first one open."""
    sound = any(item.is_sound for item in embedded.items)
    told = [h("p", f"Embedded: {embedded.form}.")]
    if sound:
        keys = [h("kbd", key) for key in ("1", "9", "0", "space")]
        words = (" to ", " switch at the same position, ", " is the reference, ", " plays and pauses.")
        told.append(h("p", "Keys: ", *(part for pair in zip(keys, words, strict=True) for part in pair)))
    if embedded.left_out:
        left = f"{count(len(embedded.left_out), 'item')} left out, so that the page stays small: "
        told.append(h("p", left, ", ".join(embedded.left_out), class_="doubt"))
    items = [_item(item, results, index) for index, item in enumerate(embedded.items)]
    return join(*told, *items)


def _item(item: Item, results: Results, index: int) -> Html:
    body = _versions(item, results) if item.is_sound else _slider(item, results)
    return h("details", h("summary", item.name), body, class_="item", open=index == 0)


def _versions(item: Item, results: Results) -> Html:
    lines = []
    for index, (name, uri) in enumerate(item.versions):
        key = str(index) if index < KEYS else "·"
        pressed = "true" if index == 0 else "false"
        button = h("button", key, type="button", aria_pressed=pressed, aria_label=f"Choose {name}")
        player = h("audio", controls=True, preload="auto", src=uri, aria_label=f"{item.name}, {name}")
        about = h("div", h("strong", name), h("small", _facts(item.name, name, results)), class_="about")
        lines.append(h("li", button, about, player))
    return h("ol", *lines, class_="versions")


def _slider(item: Item, results: Results) -> Html:
    names = [name for name, _ in item.versions]
    last = len(names) - 1
    pictures = [
        h("img", src=uri, alt=f"{item.name}, {name}", class_="base" if index == 0 else None)
        for index, (name, uri) in enumerate(item.versions)
    ]
    facts = [_facts(item.name, name, results) for name in names]
    stage = h("div", *pictures, h("div", class_="edge", aria_hidden="true"), class_="stage")
    label = "Share of the left picture, percent"
    slider = h("input", type="range", min=0, max=100, value=50, aria_label=label)
    sides = h("div", _choice("left", names, facts, 0), _choice("right", names, facts, last), class_="sides")
    return h("div", h("div", stage, slider, class_="view"), sides, class_="compare")


def _choice(side: str, names: list[str], facts: list[str], chosen: int) -> Html:
    options = [
        h("option", name, value=index, selected=index == chosen, data_facts=facts[index])
        for index, name in enumerate(names)
    ]
    return h("label", side, h("select", *options, class_=side), h("small", facts[chosen], class_="facts"))


def _facts(item: str, point: str, results: Results) -> str:
    """Rate and metrics of an item at a point, in a line."""
    row = results.by_point.get(point, {}).get(item)
    if point == REFERENCE or row is None or not row.coded:
        return ""
    units = {measure.name: f" {measure.unit}" if measure.unit else "" for measure in results.metrics}
    found = [f"{name} {number(row.metrics[name])}{unit}" for name, unit in units.items() if name in row.metrics]
    return " · ".join([f"{number(results.rate(row))} {results.rate_unit}", *found])
