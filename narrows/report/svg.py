"""A plot as SVG; colours and fonts come from the page's style sheet."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from narrows.report.markup import Html, h, join
from narrows.report.plot import Mark, Plot, Series

WIDTH, HEIGHT = 400, 300
LEFT, RIGHT, TOP, BOTTOM = 36, 10, 10, 42
COLOURS = 8  # defined in the style sheet
SHAPES = (  # SVG paths around (0, 0), about 10 wide
    "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0Z",
    "M-3.6,-3.6H3.6V3.6H-3.6Z",
    "M0,-4.8L4.6,3.4H-4.6Z",
    "M0,-5.2L5.2,0L0,5.2L-5.2,0Z",
    "M0,4.8L4.6,-3.4H-4.6Z",
    "M-1.4,-4.6H1.4V-1.4H4.6V1.4H1.4V4.6H-1.4V1.4H-4.6V-1.4H-1.4Z",
    "M0,-5L4.8,-1.5L2.9,4H-2.9L-4.8,-1.5Z",
)


@dataclass(frozen=True)
class Axis:
    """Tick values, and the function from a value to its coordinate in the drawing."""

    ticks: Sequence[float]
    position: Callable[[float], float]


def drawing(plot: Plot) -> Html:
    """The plot with axes, error bars, lines and marks."""
    marks = [mark for series in plot.series for mark in series.marks]
    ends = [end for m in marks for end in (m.y, m.low, m.high) if end is not None]
    x = (log_axis if plot.log_x else axis)([mark.x for mark in marks], LEFT + 6, WIDTH - RIGHT - 6)
    y = axis(ends, HEIGHT - BOTTOM, TOP)
    names = ", ".join(series.name for series in plot.series)
    description = f"{plot.title}. {names}. Use the arrow keys to step through the points."
    return h(
        "svg",
        _grid(plot, x, y),
        *(_series(series, x, y) for series in plot.series),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=description,
        tabindex=0,
        class_="plot",
    )


def swatch(style: int) -> Html:
    """A short line with the mark of a series, for the legend."""
    line = h("path", d="M1,8H27", class_="line")
    shape = h("path", d=SHAPES[style % len(SHAPES)], transform="translate(14,8)")
    return h(
        "svg", h("g", line, shape, class_=_css_class(style)), viewBox="0 0 28 16", class_="swatch", aria_hidden="true"
    )


def log_axis(values: Sequence[float], start: float, end: float) -> Axis:
    """A logarithmic axis: ticks at 1, 2 and 5 in each decade; only at 1 over many decades, closer within one."""
    low, high = log10(min(values)), log10(max(values))
    if high - low < 0.3:
        low, high = low - 0.15, high + 0.15
    decades = range(floor(low), ceil(high) + 1)
    steps = (1,) if high - low > 2.5 else (1, 2, 5) if high - low > 0.7 else (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)
    ticks = [step * 10.0**decade for decade in decades for step in steps if low <= log10(step) + decade <= high]
    return Axis(ticks, lambda value: start + (log10(value) - low) / (high - low) * (end - start))


def axis(values: Sequence[float], start: float, end: float) -> Axis:
    """A linear axis with four to eight ticks at round values, from below the smallest value to above the largest."""
    low, high = min(values), max(values)
    if high - low < 1e-9 * max(abs(low), abs(high), 1e-9):
        low, high = low - max(abs(low), 1) / 10, high + max(abs(high), 1) / 10
    power = 10.0 ** floor(log10((high - low) / 4))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if (high - low) / (factor * power) <= 6)
    first, last = floor(low / step), ceil(high / step)
    low, high = first * step, last * step
    return Axis(
        [index * step for index in range(first, last + 1)],
        lambda value: start + (value - low) / (high - low) * (end - start),
    )


def _grid(plot: Plot, x: Axis, y: Axis) -> Html:
    floor_y = HEIGHT - BOTTOM
    parts = []
    for tick in y.ticks:
        at = y.position(tick)
        parts.append(h("path", d=f"M{LEFT},{at:.1f}H{WIDTH - RIGHT}", class_="grid"))
        parts.append(h("text", tick_label(tick), x=LEFT - 6, y=at + 4, text_anchor="end"))
    for tick in x.ticks:
        at = x.position(tick)
        parts.append(h("path", d=f"M{at:.1f},{floor_y}v4", class_="axis"))
        parts.append(h("text", tick_label(tick), x=at, y=floor_y + 17, text_anchor="middle"))
    parts.append(h("path", d=f"M{LEFT},{floor_y}H{WIDTH - RIGHT}", class_="axis"))
    centre = (LEFT + WIDTH - RIGHT) / 2
    parts.append(h("text", plot.x_label, x=centre, y=HEIGHT - 6, text_anchor="middle", class_="name"))
    return join(*parts)


def tick_label(value: float) -> str:
    """Short text of a number: 1e−5, 0.05, 20, 2k."""
    if abs(value) >= 1000:
        return f"{value / 1000:g}k".replace("-", "−")
    if 0 < abs(value) < 1e-3:
        digits, _, power = f"{value:e}".partition("e")
        return f"{float(digits):.4g}e{int(power)}".replace("-", "−")
    return f"{round(value, 10):.4g}".replace("-", "−")


def _series(series: Series, x: Axis, y: Axis) -> Html:
    positions = [(x.position(mark.x), y.position(mark.y)) for mark in series.marks]
    line = h("path", d="M" + "L".join(f"{a:.1f},{b:.1f}" for a, b in positions), class_="line")
    marks = [_mark(mark, at, series.style, y) for mark, at in zip(series.marks, positions, strict=True)]
    return h("g", line, *marks, class_=_css_class(series.style), data_series=series.name)


def _mark(mark: Mark, position: tuple[float, float], style: int, y: Axis) -> Html:
    parts = []
    if mark.low is not None and mark.high is not None:
        low, high = y.position(mark.low) - position[1], y.position(mark.high) - position[1]
        parts.append(h("path", d=f"M0,{low:.1f}V{high:.1f}", class_="error-bar"))
    if mark.pareto:
        parts.append(h("path", d="M-7.5,0a7.5,7.5 0 1,0 15,0a7.5,7.5 0 1,0 -15,0Z", class_="pareto"))
    parts.append(h("path", d=SHAPES[style % len(SHAPES)]))
    label = mark.label + (", on the Pareto front" if mark.pareto else "")
    transform = f"translate({position[0]:.1f},{position[1]:.1f})"
    return h("g", *parts, transform=transform, class_="mark", data_label=label)


def _css_class(style: int) -> str:
    """CSS class with the colour of a style; dashed if the colours repeat."""
    return f"series c{style % COLOURS}" + (" dashed" if style >= COLOURS else "")
