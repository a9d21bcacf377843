"""A plot as a PNG file, drawn by matplotlib."""

import io
import warnings

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from narrows.report.plot import Plot
from narrows.report.svg import log_axis, tick_label

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#b5548c", "#b87a00", "#3a9bd9", "#882255", "#5f6670")
MARKERS = "os^DvPp"


def plot_png(plot: Plot) -> bytes:
    """PNG of 1024 × 704 pixels on white."""
    figure = Figure(figsize=(6.4, 4.4), dpi=160, layout="constrained")
    axes = figure.add_subplot()
    for series in plot.series:
        colour = PALETTE[series.style % len(PALETTE)]
        for mark in series.marks:
            if mark.low is not None and mark.high is not None:
                axes.vlines(mark.x, mark.low, mark.high, colour, lw=1)
        axes.plot(
            [mark.x for mark in series.marks],
            [mark.y for mark in series.marks],
            color=colour,
            marker=MARKERS[series.style % len(MARKERS)],
            ls="--" if series.style >= len(PALETTE) else "-",
            ms=5,
            lw=1.5,
            label=_escape(series.name),
        )
    axes.set_xscale("log")
    ticks = log_axis([mark.x for series in plot.series for mark in series.marks], 0, 1).ticks
    axes.set_xticks(ticks)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick_label(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(which="minor", bottom=False)
    axes.set(xlabel=_escape(plot.x_label), ylabel=_escape(plot.y_label))
    axes.set_title(_escape(plot.title), loc="left", fontsize=11)
    axes.grid(axis="y", color="#dddddd", lw=0.7)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    data = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # the font lacks some scripts and draws boxes instead
        figure.savefig(data, format="png", metadata={"Software": None})
    return data.getvalue()


def _escape(text: str) -> str:
    """Escapes $, which starts a formula, and removes leading underscores, which hide a name from the legend."""
    return text.replace("$", r"\$").lstrip("_")
