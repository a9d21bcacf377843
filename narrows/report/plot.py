"""Plots as data, for the SVG in an HTML page, the PNG file and the CSV file."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Mark:
    """A point of a plot.

    Args:
        x, y: Position.
        label: Text shown for the point.
        low, high: Ends of the error bar; None for no error bar.
        pareto: Whether the point is on the Pareto front.
    """

    x: float
    y: float
    label: str
    low: float | None = None
    high: float | None = None
    pareto: bool = False


@dataclass(frozen=True)
class Series:
    """Marks connected by a line.

    Args:
        name: Name in the legend.
        style: Index of colour, shape and dash; a codec has the same style in all plots.
        marks: Points from left to right.
    """

    name: str
    style: int
    marks: Sequence[Mark]


@dataclass(frozen=True)
class Plot:
    """A line plot.

    Args:
        name: Name of its files, without suffix.
        title: Heading.
        x_label, y_label: Names of the axes.
        series: Lines.
        log_x: Whether the x axis is logarithmic.
    """

    name: str
    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    log_x: bool = True

    def as_csv(self) -> bytes:
        """One row per mark."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("series", "label", self.x_label, self.y_label, "low", "high"))
        for series in self.series:
            writer.writerows((series.name, m.label, m.x, m.y, m.low, m.high) for m in series.marks)
        return text.getvalue().encode()
