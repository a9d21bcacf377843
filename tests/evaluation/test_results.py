import csv
import json
import os
from dataclasses import replace

import pytest
from pyarrow import parquet

from narrows.errors import InputError, MediaError
from narrows.evaluation.base import Metric
from narrows.evaluation.results import Measure, Point, Results, Row
from narrows.evaluation.statistics import interval


def test_through_json_and_back(results):
    assert Results.from_json(results().to_json()) == results()


def test_equal_results_are_equal_bytes(results, tmp_path):
    there = results()
    shuffled = replace(there, rows=there.rows[::-1], points=there.points[::-1])
    there.write(tmp_path / "a")
    shuffled.write(tmp_path / "b")
    names = ["results.json", "rows.csv", "rows.parquet", "summary.csv"]
    assert sorted(os.listdir(tmp_path / "a")) == names
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert Results.read(tmp_path / "a" / "results.json") == there


def test_what_stands_is_not_overwritten_unless_asked(results, tmp_path):
    results().write(tmp_path)
    with pytest.raises(MediaError, match="exists already"):
        results(1.0).write(tmp_path)
    assert Results.read(tmp_path / "results.json") == results()
    results(1.0).write(tmp_path, overwrite=True)
    assert Results.read(tmp_path / "results.json") == results(1.0)


def test_points_are_in_order_of_family_and_setting(results):
    assert [point.name for point in results().points][:5] == ["opus@6", "opus@8", "opus@12", "opus@16", "ours@6"]
    assert [row.item for row in results().rows[:7]] == [f"{item}.wav" for item in (0, 1, 2, 3, 4, 5, 0)]


def test_summary(results):
    told = results().summary()[0]
    rows = list(results().by_point["opus@6"].values())
    assert told.point.name == "opus@6"
    assert told.rate == interval([8 * row.file_bytes / row.amount / 1000 for row in rows])
    assert told.total == pytest.approx(8 * sum(r.file_bytes for r in rows) / sum(r.amount for r in rows) / 1000)
    assert told.payload < told.total
    assert told.failed == {"coding": 0, "sdr": 0, "mel": 1}
    assert told.metrics["mel"] == interval([row.metrics["mel"] for row in rows[:5]])


def test_bits_a_pixel():
    rows = [Row("a.png", "jpeg@50", 1000, 250)]
    (told,) = Results("image", [Point("jpeg@50", "jpeg", 50, {})], rows, []).summary()
    assert (told.rate.mean, told.payload) == (2.0, None)


def test_items_that_could_not_be_coded_count_for_nothing_but_as_failed(results):
    there = results()
    rows = [Row(r.item, r.point, r.amount, 0, failures={"coding": "too short"}) for r in there.rows]
    one = replace(there, rows=[*rows[:1], *there.rows[1:]]).summary()[0]
    assert (one.items, one.failed) == (6, {"coding": 1, "sdr": 1, "mel": 2})
    assert (one.rate.count, one.metrics["sdr"].count) == (5, 5)
    none = replace(there, rows=rows).summary()[0]
    assert (none.rate, none.total, none.metrics, none.failed["coding"]) == (None, None, {}, 6)


def test_tables_hold_what_the_rows_do(results, tmp_path):
    results().write(tmp_path)
    with (tmp_path / "rows.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 48
    assert float(lines[0]["sdr"]) == results().rows[0].metrics["sdr"]
    assert (lines[5]["mel"], json.loads(lines[5]["failures"])) == ("", {"mel": "no sound"})
    table = parquet.read_table(tmp_path / "rows.parquet").to_pydict()
    assert list(table) == list(lines[0])
    assert table["file_bytes"] == [row.file_bytes for row in results().rows]
    assert table["mel"][5] is None
    with (tmp_path / "summary.csv").open(newline="") as file:
        points = list(csv.DictReader(file))
    assert float(points[4]["sdr_low"]) == results().summary()[4].metrics["sdr"].low
    assert (points[0]["mel_failed"], points[0]["encode"], points[4]["encode"]) == ("1", "", "56.0")


def test_a_measure_is_a_metric_without_its_function():
    metric = Metric("psnr", "image", "dB", "higher", "Peak signal to noise ratio.", lambda a, b: 1.0)
    assert Measure.of(metric) == Measure("psnr", "dB", "higher", "Peak signal to noise ratio.")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda facts: facts.update(format="other"), "its format"),
        (lambda facts: facts.update(version=2), "install a newer one"),
        (lambda facts: facts.update(more=1), "unknown key 'more'"),
        (lambda facts: facts.pop("medium"), "no 'medium'"),
        (lambda facts: facts.update(medium="smell"), "known are audio, image"),
        (lambda facts: facts["rows"][3].update(amount="2"), r"rows\[3\]\.amount is '2', a number"),
        (lambda facts: facts["rows"][3].update(amount=0), "an amount of 0"),
        (lambda facts: facts["rows"][3].update(file_bytes=True), "an integer"),
        (lambda facts: facts["rows"][3].update(metrics=[]), "an object"),
        (lambda facts: facts["rows"][3]["metrics"].update(strange=1), "metric 'strange'"),
        (lambda facts: facts["rows"][3].update(point="strange"), "point 'strange'"),
        (lambda facts: facts.update(points={}), "a list"),
        (lambda facts: facts["points"].append(facts["points"][0]), "two points 'opus@6'"),
        (lambda facts: facts["rows"].append(facts["rows"][0]), "two rows"),
        (lambda facts: facts["metrics"][0].update(better="more"), "'higher' or 'lower'"),
        (lambda facts: facts["points"][4].update(speed={"encode": 1}), "no 'decode'"),
        (lambda facts: facts["points"][4]["speed"].update(encode=0), "above 0"),
    ],
)
def test_other_files_are_refused_by_name(results, tmp_path, change, told):
    facts = json.loads(results().to_json())
    change(facts)
    path = tmp_path / "old.json"
    path.write_text(json.dumps(facts))
    with pytest.raises(InputError, match=told) as caught:
        Results.read(path)
    assert "old.json" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", '{"format": NaN}', "[" * 100_000, b"\xff\xfe\x00", "9" * 5000])
def test_no_json_is_refused(text):
    with pytest.raises(InputError, match="the text holds no results"):
        Results.from_json(text)


def test_numbers_that_are_none_are_refused():
    with pytest.raises(InputError, match="into failures"):
        Row("a", "b", 1, 1, metrics={"psnr": float("inf")})
    with pytest.raises(InputError, match="only one"):
        Row("a", "b", 1, 1, metrics={"psnr": 1.0}, failures={"coding": "no"})
