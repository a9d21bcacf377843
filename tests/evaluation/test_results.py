import csv
import json
import os
from dataclasses import replace

import pytest
from pyarrow import parquet

from narrows.errors import InputError, MediaError
from narrows.evaluation.base import Metric
from narrows.evaluation.metrics.codebook_usage import CodebookUsage
from narrows.evaluation.result_files import read_results, results_from_json, results_to_json, write_results
from narrows.evaluation.results import ItemResult, MeasuredPoint, MetricInfo, Results
from narrows.evaluation.statistics import bootstrap_interval


def test_json_round_trip(results):
    assert results_from_json(results_to_json(results())) == results()


def test_equal_results_give_equal_bytes(results, tmp_path):
    there = results()
    shuffled = replace(there, item_results=there.item_results[::-1], points=there.points[::-1])
    write_results(there, tmp_path / "a")
    write_results(shuffled, tmp_path / "b")
    names = ["item_results.csv", "item_results.parquet", "results.json", "summary.csv"]
    assert sorted(os.listdir(tmp_path / "a")) == names
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert read_results(tmp_path / "a" / "results.json") == there


def test_files_are_replaced_only_with_overwrite(results, tmp_path):
    write_results(results(), tmp_path)
    with pytest.raises(MediaError, match="exists already"):
        write_results(results(1.0), tmp_path)
    assert read_results(tmp_path / "results.json") == results()
    write_results(results(1.0), tmp_path, overwrite=True)
    assert read_results(tmp_path / "results.json") == results(1.0)


def test_points_are_in_order_of_family_and_setting(results):
    assert [point.name for point in results().points][:5] == ["opus@6", "opus@8", "opus@12", "opus@16", "ours@6"]
    assert [row.item for row in results().item_results[:7]] == [f"{item}.wav" for item in (0, 1, 2, 3, 4, 5, 0)]


def test_summary(results):
    summary = results().summaries()[0]
    rows = list(results().by_point["opus@6"].values())
    assert summary.point.name == "opus@6"
    assert summary.rate == bootstrap_interval([8 * row.file_bytes / row.amount / 1000 for row in rows])
    assert summary.total_rate == pytest.approx(8 * sum(r.file_bytes for r in rows) / sum(r.amount for r in rows) / 1000)
    assert summary.total_payload_rate < summary.total_rate
    assert summary.failed == {"coding": 0, "sdr": 0, "mel": 1}
    assert summary.metrics["mel"] == bootstrap_interval([row.metrics["mel"] for row in rows[:5]])


def test_use_of_codes(results, tmp_path):
    """Codes per second of all codebooks, the fraction of all entries that occur, and the mean entropy as perplexity."""
    there = results()
    usages = [CodebookUsage(16, 270, 0.75, 3.0, 8.0), CodebookUsage(64, 270, 0.5, 5.0, 32.0)]
    points = [replace(point, codebooks=usages) if point.family == "ours" else point for point in there.points]
    there = replace(there, points=points)
    assert results_from_json(results_to_json(there)) == there
    plain, ours = there.summaries()[0], there.summaries()[4]
    assert (plain.codes, plain.codes_used, plain.perplexity) == (None, None, None)
    assert ours.codes == pytest.approx(540 / 27)  # the items are 2 to 7 seconds long
    assert ours.codes_used == pytest.approx((12 + 32) / 80)
    assert ours.perplexity == pytest.approx(2**4)
    write_results(there, tmp_path)
    with (tmp_path / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert (rows[0]["codes_rate"], rows[0]["codes_used"], rows[0]["perplexity"]) == ("", "", "")
    assert (float(rows[4]["codes_rate"]), float(rows[4]["perplexity"])) == (20.0, 16.0)


def test_bits_per_pixel():
    rows = [ItemResult("a.png", "jpeg@50", 1000, 250)]
    (summary,) = Results("image", [MeasuredPoint("jpeg@50", "jpeg", 50, {})], rows, []).summaries()
    assert (summary.rate.mean, summary.total_payload_rate) == (2.0, None)


def test_failed_items_count_only_as_failed(results):
    there = results()
    rows = [ItemResult(r.item, r.point, r.amount, 0, failures={"coding": "too short"}) for r in there.item_results]
    one = replace(there, item_results=[*rows[:1], *there.item_results[1:]]).summaries()[0]
    assert (one.items, one.failed) == (6, {"coding": 1, "sdr": 1, "mel": 2})
    assert (one.rate.count, one.metrics["sdr"].count) == (5, 5)
    none = replace(there, item_results=rows).summaries()[0]
    assert (none.rate, none.total_rate, none.metrics, none.failed["coding"]) == (None, None, {}, 6)


def test_table_files(results, tmp_path):
    write_results(results(), tmp_path)
    with (tmp_path / "item_results.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 48
    assert float(lines[0]["sdr"]) == results().item_results[0].metrics["sdr"]
    assert (lines[5]["mel"], json.loads(lines[5]["failures"])) == ("", {"mel": "silence"})
    table = parquet.read_table(tmp_path / "item_results.parquet").to_pydict()
    assert list(table) == list(lines[0])
    assert table["file_bytes"] == [row.file_bytes for row in results().item_results]
    assert table["mel"][5] is None
    with (tmp_path / "summary.csv").open(newline="") as file:
        points = list(csv.DictReader(file))
    assert float(points[4]["sdr_low"]) == results().summaries()[4].metrics["sdr"].low
    assert (points[0]["mel_failed"], points[0]["encode"], points[4]["encode"]) == ("1", "", "56.0")


def test_metric_info_is_a_metric_without_its_function():
    metric = Metric("psnr", "image", "dB", "higher", "Peak signal to noise ratio.", lambda a, b: 1.0)
    assert MetricInfo.of(metric) == MetricInfo("psnr", "dB", "higher", "Peak signal to noise ratio.")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda facts: facts.update(format="other"), "no format 'narrows results'"),
        (lambda facts: facts.update(version=2), "install another narrows"),
        (lambda facts: facts.update(more=1), "unknown key 'more'"),
        (lambda facts: facts.pop("medium"), "expected the key 'medium'"),
        (lambda facts: facts.update(medium="smell"), "a medium among audio, image"),
        (lambda facts: facts["item_results"][3].update(amount="2"), r"item_results\[3\]\.amount, got '2'"),
        (lambda facts: facts["item_results"][3].update(amount=0), "an amount above 0"),
        (lambda facts: facts["item_results"][3].update(file_bytes=True), "an integer"),
        (lambda facts: facts["item_results"][3].update(metrics=[]), "an object"),
        (lambda facts: facts["item_results"][3]["metrics"].update(strange=1), "metric 'strange'"),
        (lambda facts: facts["item_results"][3].update(point="strange"), "point 'strange'"),
        (lambda facts: facts.update(points={}), "a list"),
        (lambda facts: facts["points"].append(facts["points"][0]), "two points 'opus@6'"),
        (lambda facts: facts["item_results"].append(facts["item_results"][0]), "two item results"),
        (lambda facts: facts["metrics"][0].update(better="more"), "'higher' or 'lower'"),
        (lambda facts: facts["points"][4].update(speed={"encode": 1}), "expected the key 'decode'"),
        (lambda facts: facts["points"][4]["speed"].update(encode=0), "above 0"),
    ],
)
def test_invalid_files_are_rejected(results, tmp_path, change, message):
    facts = json.loads(results_to_json(results()))
    change(facts)
    path = tmp_path / "old.json"
    path.write_text(json.dumps(facts))
    with pytest.raises(InputError, match=message) as caught:
        read_results(path)
    assert "old.json" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", '{"format": NaN}', "[" * 100_000, b"\xff\xfe\x00", "9" * 5000])
def test_invalid_json_is_rejected(text):
    with pytest.raises(InputError, match="expected results in the text"):
        results_from_json(text)


def test_non_finite_and_contradictory_results_are_rejected():
    with pytest.raises(InputError, match="under failures"):
        ItemResult("a", "b", 1, 1, metrics={"psnr": float("inf")})
    with pytest.raises(InputError, match="could not be coded"):
        ItemResult("a", "b", 1, 1, metrics={"psnr": 1.0}, failures={"coding": "no"})
