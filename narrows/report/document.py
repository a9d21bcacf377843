"""An HTML document with inline style and script; it loads nothing from the network."""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from itertools import count

from narrows.report.markup import Html, h, join
from narrows.report.plot import Plot
from narrows.report.svg import drawing, swatch

Section = tuple[str, str, Sequence[Html]]  # anchor, heading, parts


def document(title: str, extent: str, sections: Sequence[Section]) -> str:
    """A page with a title, a line about its extent, links to the sections that have parts, and these sections."""
    used = [section for section in sections if section[2]]
    links = [h("a", name, href=f"#{anchor}") for anchor, name, _ in used]
    body = [h("section", h("h2", name, id=anchor), *parts) for anchor, name, parts in used]
    header = h("header", h("h1", title), h("p", extent, class_="extent"), h("nav", *links, aria_label="Sections"))
    return _html(title, join(header, h("main", *body)))


def legend(names: Iterable[str], styles: Iterable[int] | None = None) -> Html:
    """A button for each series, which hides or shows it; with the styles of a plot's series, else 0, 1 ..."""
    buttons = [
        h("li", h("button", swatch(style), name, type="button", aria_pressed="true", data_series=name))
        for style, name in zip(count() if styles is None else styles, names, strict=False)
    ]
    return h("ul", *buttons, class_="legend", aria_label="Shown in the plots")


def figures(plots: Sequence[Plot], files: Sequence[str] = (), with_legends: bool = False) -> Html:
    """Plots in a grid.

    Args:
        plots: The plots.
        files: Suffixes of the files plots/NAME.SUFFIX that each plot links to.
        with_legends: Whether each has its own legend.
    """
    drawn = []
    for plot in plots:
        links = [
            h("a", kind.upper(), href=f"plots/{plot.name}.{kind}", aria_label=f"{plot.title} as {kind.upper()}")
            for kind in files
        ]
        caption = h("figcaption", h("h3", plot.title), h("span", *links, class_="files"))
        figure = h("figure", caption, drawing(plot))
        if with_legends:
            names, styles = zip(*((series.name, series.style) for series in plot.series), strict=True)
            figure = h("div", figure, legend(names, styles))
        drawn.append(figure)
    return h("div", *drawn, class_="plots")


def definitions(texts: Mapping[str, str], class_: str | None = None) -> Html:
    """A list of terms and texts."""
    return h("dl", *(part for name, text in texts.items() for part in (h("dt", name), h("dd", text))), class_=class_)


def _html(title: str, body: Html) -> str:
    style, script = (
        (resources.files("narrows.report") / name).read_text(encoding="utf-8") for name in ("report.css", "report.js")
    )
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
