"""Markup in which every text is escaped unless it is markup already."""

from html import escape

_VOID = frozenset({"img", "input", "link", "meta"})


class Html(str):
    """Markup; any other text is escaped on its way into it."""

    __slots__ = ()


def h(tag: str, *children: str, **attributes: str | float | bool | None) -> Html:
    """An element of HTML or SVG: h("td", "4.2", class_="number").

    A trailing underscore of an attribute's name is dropped, others become hyphens. True is an attribute without a
    value; None and False are none at all.
    """
    told = []
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        name = name.rstrip("_").replace("_", "-")
        told.append(f" {name}" if value is True else f' {name}="{escape(_number(value))}"')
    start = f"<{tag}{''.join(told)}>"
    return Html(start if tag in _VOID else f"{start}{join(*children)}</{tag}>")


def join(*children: str) -> Html:
    """Markup and texts one after another."""
    return Html("".join(child if isinstance(child, Html) else escape(child) for child in children))


def _number(value: str | float) -> str:
    """Floats to a hundredth of a pixel."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
