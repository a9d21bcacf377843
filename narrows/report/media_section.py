"""The media of a page: players of one recording or clip to switch between, two versions of an image under a slider.

The script treats players of audio and video alike; those of a clip lie over each other, and the selected one is shown.
"""

from collections.abc import Callable

from narrows.report.embedding import EmbeddedItem, EmbeddedMedia
from narrows.report.markup import Html, h, join
from narrows.report.number_format import count

KEYS = 10  # digits 0 to 9
Values = Callable[[str, str], str]  # what is shown of an item's version, by the names of both


def media_section(embedded: EmbeddedMedia, values: Values) -> Html:
    """Section with all items, of which the first is open."""
    parts = [h("p", f"Embedded as: {embedded.encoding}.")]
    if any(item.medium in ("audio", "video") for item in embedded.items):
        keys = [h("kbd", key) for key in ("1", "9", "0", "space")]
        texts = (" to ", " switch at the same position, ", " is the reference, ", " plays and pauses.")
        parts.append(h("p", "Keys: ", *(part for pair in zip(keys, texts, strict=True) for part in pair)))
    if embedded.omitted:
        text = f"{count(len(embedded.omitted), 'item')} omitted to keep the page small: "
        parts.append(h("p", text, ", ".join(embedded.omitted), class_="warning"))
    items = [_item(item, values, index) for index, item in enumerate(embedded.items)]
    return join(*parts, *items)


def _item(item: EmbeddedItem, values: Values, index: int) -> Html:
    body = BODIES[item.medium](item, values)
    return h("details", h("summary", item.name), body, class_="item", open=index == 0)


def _players(item: EmbeddedItem, values: Values) -> Html:
    rows = []
    for index, (name, uri) in enumerate(item.versions):
        player = h("audio", controls=True, preload="auto", src=uri, aria_label=f"{item.name}, {name}")
        rows.append(h("li", *_selector(index, name, values(item.name, name)), player))
    return h("ol", *rows, class_="versions")


def _screen(item: EmbeddedItem, values: Values) -> Html:
    players = [
        h(
            "video",
            controls=True,
            loop=True,
            muted=True,
            playsinline=True,
            preload="auto",
            src=uri,
            aria_label=f"{item.name}, {name}",
            class_="shown" if index == 0 else None,
        )
        for index, (name, uri) in enumerate(item.versions)
    ]
    rows = [h("li", *_selector(index, name, values(item.name, name))) for index, (name, _) in enumerate(item.versions)]
    return join(h("div", *players, class_="screen"), h("ol", *rows, class_="versions"))


def _selector(index: int, name: str, text: str) -> tuple[Html, Html]:
    """The button that selects a version, and the label of the version."""
    key, pressed = str(index) if index < KEYS else "·", "true" if index == 0 else "false"
    button = h("button", key, type="button", aria_pressed=pressed, aria_label=f"Select {name}")
    return button, h("div", h("strong", name), h("small", text), class_="label")


def _slider(item: EmbeddedItem, values: Values) -> Html:
    names = [name for name, _ in item.versions]
    last = len(names) - 1
    images = [
        h("img", src=uri, alt=f"{item.name}, {name}", class_="base" if index == 0 else None)
        for index, (name, uri) in enumerate(item.versions)
    ]
    texts = [values(item.name, name) for name in names]
    stage = h("div", *images, h("div", class_="edge", aria_hidden="true"), class_="stage")
    label = "Visible part of the left image, percent"
    slider = h("input", type="range", min=0, max=100, value=50, aria_label=label)
    sides = h("div", _choice("left", names, texts, 0), _choice("right", names, texts, last), class_="sides")
    return h("div", h("div", stage, slider, class_="view"), sides, class_="compare")


def _choice(side: str, names: list[str], values: list[str], selected: int) -> Html:
    options = [
        h("option", name, value=index, selected=index == selected, data_values=values[index])
        for index, name in enumerate(names)
    ]
    return h("label", side, h("select", *options, class_=side), h("small", values[selected], class_="values"))


BODIES: dict[str, Callable[[EmbeddedItem, Values], Html]] = {"audio": _players, "image": _slider, "video": _screen}
