import csv
import io
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from narrows.evaluation.bands import BandDistortion
from narrows.evaluation.report.plots import band_plots, bit_flip_plots, pareto_points, rate_quality_plots
from narrows.evaluation.report.png import PALETTE, plot_png
from narrows.evaluation.results import ItemResult, MeasuredPoint, MetricInfo, Results
from narrows.report.svg import COLOURS, axis, drawing, log_axis, tick_label


def test_one_plot_per_metric_one_series_per_codec(results):
    plots = rate_quality_plots(results(), results().summaries())
    assert [plot.name for plot in plots] == ["rate-1-sdr", "rate-2-mel"]
    assert [series.name for series in plots[0].series] == ["opus", "ours"]
    mark = plots[0].series[1].marks[0]
    summary = results().summaries()[4]
    assert (mark.x, mark.y, mark.low) == (summary.rate.mean, summary.metrics["sdr"].mean, summary.metrics["sdr"].low)
    assert mark.label.startswith("ours@6: ")
    assert "lower is better" in plots[1].title


def test_pareto_front_of_rate_metric_and_speed(results):
    sdr, mel = results().metrics
    assert pareto_points(results().summaries(), sdr) == {"ours@6", "ours@8", "ours@12", "ours@16"}
    assert "opus@6" in pareto_points(results(-10).summaries(), sdr)
    assert "opus@6" in pareto_points(results(-10).summaries(), mel)


def test_drawing(results):
    (plot, _) = rate_quality_plots(results(), results().summaries())
    drawn = ElementTree.fromstring(drawing(plot))
    marks = [group for group in drawn.iter("g") if group.get("class") == "mark"]
    assert len(marks) == 8
    assert sum("on the Pareto front" in mark.get("data-label") for mark in marks) == 4
    for mark in marks:
        x, y = map(float, mark.get("transform").removeprefix("translate(").removesuffix(")").split(","))
        assert 36 <= x <= 390
        assert 10 <= y <= 258
    heights = [float(mark.get("transform").split(",")[1][:-1]) for mark in marks[:4]]
    assert heights == sorted(heights, reverse=True)  # better is higher up
    assert len(PALETTE) == COLOURS


def test_as_csv(results):
    (plot, _) = rate_quality_plots(results(), results().summaries())
    lines = list(csv.reader(io.StringIO(plot.as_csv().decode())))
    assert lines[0] == ["series", "label", "rate, kbit/s", "sdr, dB", "low", "high"]
    assert len(lines) == 9
    assert float(lines[1][2]) == plot.series[0].marks[0].x


def test_as_png(results):
    (plot, _) = rate_quality_plots(results(), results().summaries())
    data = plot_png(plot)
    assert data == plot_png(plot)
    pixels = np.array(Image.open(io.BytesIO(data)).convert("RGB"))
    assert pixels.shape == (704, 1024, 3)
    colours = {tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5)) for colour in PALETTE[:2]}
    assert colours <= set(map(tuple, pixels.reshape(-1, 3).tolist()))


def test_other_plots():
    sums = BandDistortion(
        "Hz", (0.0, 100.0, 400.0, 1600.0), (1.0, 1.0, 0.0), (0.1, 1.0, 0.0), (4.0, 9.0, 0.0), (1.0, 1.0, 0.0)
    )
    levels, noise = band_plots({"a": sums})
    assert [(mark.x, mark.y) for mark in levels.series[0].marks] == [(50, 2), (200, 3)]
    assert [(mark.x, mark.y) for mark in noise.series[0].marks] == [(50, -10), (200, 0)]
    points = [MeasuredPoint(f"a+bit-flips@{p:g}", "a+bit-flips", p, {}) for p in (1e-2, 1e-3)]
    rows = [
        ItemResult(f"{i}.wav", point.name, 1.0, 1, metrics={"sdr": i + point.setting})
        for point in points
        for i in range(3)
    ]
    damaged = Results(
        "audio", points, rows, [MetricInfo("sdr", "dB", "higher", ""), MetricInfo("mel", "dB", "lower", "")]
    )
    (flips,) = bit_flip_plots({"a": damaged})
    assert [(mark.x, mark.y) for mark in flips.series[0].marks] == [(1e-3, 1.001), (1e-2, 1.01)]
    for plot in (levels, noise, flips):
        assert drawing(plot)


@pytest.mark.parametrize(
    ("values", "ticks"),
    [([0.3, 3.9], [0, 1, 2, 3, 4]), ([27.1, 41.0], [26, 28, 30, 32, 34, 36, 38, 40, 42]), ([5, 5], None)],
)
def test_ticks(values, ticks):
    found = axis(values, 0, 100)
    assert found.ticks[0] <= min(values) < max(values) + 1e-9 <= found.ticks[-1] + 1e-9
    assert 4 <= len(found.ticks) <= 9
    assert (found.position(found.ticks[0]), found.position(found.ticks[-1])) == pytest.approx((0, 100))
    if ticks and len(values) == len(ticks):
        assert found.ticks == pytest.approx(ticks)


@pytest.mark.parametrize("values", [[6, 16], [0.05, 4], [1e-6, 1e-1], [3, 3]])
def test_logarithmic_ticks(values):
    found = log_axis(values, 0, 100)
    assert 2 <= len(found.ticks) <= 9
    assert all(-1e-9 <= found.position(tick) <= 100 + 1e-9 for tick in found.ticks)


def test_tick_labels():
    assert [tick_label(v) for v in (1e-5, 0.05, -2.5, 20, 2000)] == ["1e−5", "0.05", "−2.5", "20", "2k"]
