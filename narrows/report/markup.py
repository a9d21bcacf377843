"""HTML and SVG elements; text is escaped unless it is markup already."""

from html import escape

_VOID = frozenset({"img", "input", "link", "meta"})


class Html(str):
    """Markup, which is inserted without escaping."""

    __slots__ = ()


def h(tag: str, *children: str, **attributes: str | float | bool | None) -> Html:
    """An HTML or SVG element, such as h("td", "4.2", class_="number").

    Args:
        tag: Name of the element.
        children: Markup or text; text is escaped.
        attributes: A trailing underscore of a name is removed, other underscores become hyphens. True gives an
            attribute without a value; None and False leave it out.
    """
    attribute_texts = []
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        name = name.rstrip("_").replace("_", "-")
        attribute_texts.append(f" {name}" if value is True else f' {name}="{escape(_number(value))}"')
    start = f"<{tag}{''.join(attribute_texts)}>"
    return Html(start if tag in _VOID else f"{start}{join(*children)}</{tag}>")


def join(*children: str) -> Html:
    """Concatenated markup and text; text is escaped."""
    return Html("".join(child if isinstance(child, Html) else escape(child) for child in children))


def _number(value: str | float) -> str:
    """Floats with at most two decimals."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
