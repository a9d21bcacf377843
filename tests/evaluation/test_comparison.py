import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from narrows.errors import InputError
from narrows.evaluation.comparison import compare, family_bd_rate
from narrows.evaluation.curves import Curve, bd_rate
from narrows.evaluation.results import ItemResult, MeasuredPoint, Results


def test_differences_are_paired(results):
    found = {(d.point, d.quantity): d for d in compare(results(), results(0.5)).differences}
    rate, sdr, mel = (found["ours@8", what] for what in ("rate", "sdr", "mel"))
    assert (rate.change.mean, rate.change.low, rate.unit) == (0, 0, "kbit/s")
    assert (sdr.change.low, sdr.change.mean, sdr.change.high) == pytest.approx((0.5, 0.5, 0.5))
    assert sdr.after - sdr.before == pytest.approx(0.5)
    assert (mel.change.mean, mel.sign) == (pytest.approx(-0.125), -1)
    assert found["opus@8", "mel"].change.count == 5
    assert [d.quantity for d in compare(results(), results()).differences[:3]] == ["rate", "sdr", "mel"]


def test_bd_rate_of_each_family(results):
    deltas = compare(results(), results(0.5)).bd_rates
    assert deltas["opus"]["sdr"].change == pytest.approx(0, abs=1e-9)
    assert deltas["ours"]["sdr"].change < -5
    assert deltas["ours"]["mel"].change < -5


def test_bd_rate_uses_items_with_the_metric_at_every_point(results):
    there = results()
    (mel,) = [measure for measure in there.metrics if measure.name == "mel"]
    curves = []
    for family in ("opus", "ours"):
        rows = [[there.by_point[f"{family}@{kbps}"][f"{i}.wav"] for kbps in (6, 8, 12, 16)] for i in range(5)]
        curves.append(
            Curve([[there.rate(r) for r in of] for of in rows], [[-r.metrics["mel"] for r in of] for of in rows])
        )
    assert family_bd_rate(mel, (there, "opus"), (there, "ours")) == bd_rate(*curves)


def test_reasons_for_undefined_bd_rates(results):
    there = results()
    (sdr, _) = there.metrics
    few = replace(
        there, points=there.points[1:], item_results=[row for row in there.item_results if row.point != "opus@6"]
    )
    assert "3 undominated points" in family_bd_rate(sdr, (few, "opus"), (few, "ours"))
    far = results(100)
    assert "no common quality" in family_bd_rate(sdr, (far, "opus"), (far, "ours"))
    bare = replace(there, item_results=[replace(row, metrics={}, failures={}) for row in there.item_results])
    assert "no item" in family_bd_rate(sdr, (bare, "opus"), (bare, "ours"))
    empty = replace(there, item_results=[replace(row, file_bytes=0) for row in there.item_results])
    assert "empty" in family_bd_rate(sdr, (empty, "opus"), (empty, "ours"))


def test_json_and_table(results):
    smaller = replace(
        results(0.5),
        points=results().points[:-1],
        item_results=[r for r in results(0.5).item_results if r.point != "ours@16"],
    )
    found = compare(results(), smaller)
    facts = json.loads(found.to_json())
    assert facts["missing"][0] == "point ours@16"
    assert facts["differences"][0]["point"] == "opus@6"
    assert facts["bd_rates"]["ours"]["sdr"] == "3 undominated points, 4 are needed"
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(found.table())
    text = console.export_text()
    assert "opus@6" in text
    assert "95 % interval" in text
    assert "Not in both: point ours@16" in text


def test_incompatible_results_are_rejected(results):
    picture = Results("image", [MeasuredPoint("jpeg@1", "jpeg", 1, {})], [ItemResult("a", "jpeg@1", 1, 1)], [])
    with pytest.raises(InputError, match="of one medium, got audio and image"):
        compare(results(), picture)
    with pytest.raises(InputError, match="no operating point in common"):
        compare(picture, replace(picture, points=[MeasuredPoint("jpeg@2", "jpeg", 2, {})], item_results=[]))
