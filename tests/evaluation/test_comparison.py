import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from narrows.errors import InputError
from narrows.evaluation.comparison import compare, family_delta
from narrows.evaluation.curves import Curve, bd_rate
from narrows.evaluation.results import Point, Results, Row


def test_differences_are_paired(results):
    found = {(d.point, d.what): d for d in compare(results(), results(0.5)).differences}
    rate, sdr, mel = (found["ours@8", what] for what in ("rate", "sdr", "mel"))
    assert (rate.change.mean, rate.change.low, rate.unit) == (0, 0, "kbit/s")
    assert (sdr.change.low, sdr.change.mean, sdr.change.high) == pytest.approx((0.5, 0.5, 0.5))
    assert sdr.after - sdr.before == pytest.approx(0.5)
    assert (mel.change.mean, mel.better) == (pytest.approx(-0.125), -1)
    assert found["opus@8", "mel"].change.count == 5
    assert [d.what for d in compare(results(), results()).differences[:3]] == ["rate", "sdr", "mel"]


def test_bd_rate_of_each_family(results):
    deltas = compare(results(), results(0.5)).bd_rates
    assert deltas["opus"]["sdr"].change == pytest.approx(0, abs=1e-9)
    assert deltas["ours"]["sdr"].change < -5
    assert deltas["ours"]["mel"].change < -5


def test_bd_rate_is_over_the_items_that_have_the_metric_everywhere(results):
    there = results()
    (mel,) = [measure for measure in there.metrics if measure.name == "mel"]
    curves = []
    for family in ("opus", "ours"):
        rows = [[there.by_point[f"{family}@{kbps}"][f"{i}.wav"] for kbps in (6, 8, 12, 16)] for i in range(5)]
        curves.append(
            Curve([[there.rate(r) for r in of] for of in rows], [[-r.metrics["mel"] for r in of] for of in rows])
        )
    assert family_delta(mel, (there, "opus"), (there, "ours")) == bd_rate(*curves)


def test_why_there_is_no_bd_rate(results):
    there = results()
    (sdr, _) = there.metrics
    few = replace(there, points=there.points[1:], rows=[row for row in there.rows if row.point != "opus@6"])
    assert "3 useful points" in family_delta(sdr, (few, "opus"), (few, "ours"))
    far = results(100)
    assert "no quality" in family_delta(sdr, (far, "opus"), (far, "ours"))
    bare = replace(there, rows=[replace(row, metrics={}, failures={}) for row in there.rows])
    assert "no item" in family_delta(sdr, (bare, "opus"), (bare, "ours"))
    empty = replace(there, rows=[replace(row, file_bytes=0) for row in there.rows])
    assert "no bytes" in family_delta(sdr, (empty, "opus"), (empty, "ours"))


def test_as_json_and_as_a_table(results):
    smaller = replace(
        results(0.5), points=results().points[:-1], rows=[r for r in results(0.5).rows if r.point != "ours@16"]
    )
    found = compare(results(), smaller)
    facts = json.loads(found.to_json())
    assert facts["missing"][0] == "point ours@16"
    assert facts["differences"][0]["point"] == "opus@6"
    assert facts["bd_rates"]["ours"]["sdr"] == "3 useful points, 4 are wanted"
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(found.table())
    text = console.export_text()
    assert "opus@6" in text
    assert "95 % interval" in text
    assert "Not in both: point ours@16" in text


def test_what_cannot_be_compared(results):
    picture = Results("image", [Point("jpeg@1", "jpeg", 1, {})], [Row("a", "jpeg@1", 1, 1)], [])
    with pytest.raises(InputError, match="audio and of image"):
        compare(results(), picture)
    with pytest.raises(InputError, match="no operating point in common"):
        compare(picture, replace(picture, points=[Point("jpeg@2", "jpeg", 2, {})], rows=[]))
