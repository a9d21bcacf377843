"""Runs over small files with classical codecs: results, failures and the cache."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image as PILImage

import narrows
from narrows.errors import InputError, NarrowsError
from narrows.evaluation import metrics as registry
from narrows.evaluation import run as runs
from narrows.evaluation.base import CodingResult, Metric, NotMeasurable, OperatingPoint, SetMetric
from narrows.evaluation.baselines.image import ImageBaseline
from narrows.evaluation.items import find_items
from narrows.evaluation.measurement import MeasurementCache, measure_item
from narrows.evaluation.points import operating_points
from narrows.evaluation.run import Plan, run
from narrows.media.image import Image
from narrows.media.medium import Signal
from narrows.media.table import MEDIA


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for index in range(3):
        smooth = np.cumsum(rng.normal(0, 6, (40, 56 + 8 * index, 3)), 1) + 128
        PILImage.fromarray(smooth.clip(0, 255).astype(np.uint8)).save(folder / f"{index}.png")
    return folder


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs the tasks in this process."""

    class Future:
        def __init__(self, value: object) -> None:
            self.value = value

        def result(self) -> object:
            return self.value

    class Pool:
        def __init__(self, *_: object) -> None: ...
        def __enter__(self) -> "Pool":
            return self

        def __exit__(self, *_: object) -> None: ...
        def shutdown(self, **_: object) -> None: ...
        def submit(self, act: Callable[..., object], *given: object) -> Future:
            return Future(act(*given))

    monkeypatch.setattr(runs, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(runs, "wait", lambda waiting, **_: (waiting, set()))


def plan(folder: Path, *names: str, **more: object) -> Plan:
    requested = operating_points(names or ["jpeg@20,80", "webp@50"])
    given: dict[str, object] = {"metrics": ("psnr", "ssim"), "speed": False, **more}
    return Plan(requested, find_items([folder], MEDIA[requested[0].medium]), **given)


def test_worker_processes_give_the_same_results(pictures: Path, tmp_path: Path) -> None:
    requested, seen = plan(pictures, samples=1), []
    measured = run(requested, tmp_path, 2, lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, 9)
    assert seen[-1] == (9, 9)
    rows = {(row.item, row.point): row for row in measured.results.item_results}
    assert len(rows) == 9
    for item in requested.items:
        for point in requested.points:
            measurement = measure_item(item, point, requested.metrics, False, None)
            assert rows[item.name, point.name] == measurement.result
            assert set(measurement.result.metrics) == {"psnr", "ssim"}
            assert 0 < measurement.result.file_bytes < 40 * 72 * 3
    assert [sample.item for sample in measured.samples] == ["0.png"]
    assert set(measured.samples[0].decoded) == {"jpeg@20", "jpeg@80", "webp@50"}
    assert set(measured.bands) == set(measured.samples[0].decoded)


def test_nothing_is_measured_twice(
    pictures: Path, tmp_path: Path, in_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    coded: list[str] = []
    round_trip = ImageBaseline.round_trip
    monkeypatch.setattr(
        ImageBaseline, "round_trip", lambda self, *given: (coded.append(self.name), round_trip(self, *given))[1]
    )
    first = run(plan(pictures), tmp_path, 1)
    assert len(coded) == 9
    assert run(plan(pictures), tmp_path, 1).results == first.results
    assert len(coded) == 9
    wider = run(plan(pictures, "jpeg@20,50,80", "webp@50"), tmp_path, 1)  # one point more
    assert coded[9:] == ["jpeg@50"] * 3
    assert all(row in wider.results.item_results for row in first.results.item_results)
    moved = tmp_path / "moved"
    moved.mkdir()
    (moved / "other.png").write_bytes((pictures / "1.png").read_bytes())
    renamed = run(plan(moved), tmp_path, 1)  # the same bytes under another name
    assert len(coded) == 12
    assert {row.item for row in renamed.results.item_results} == {"other.png"}
    more = run(plan(pictures, metrics=("psnr", "ssim", "ms-ssim")), tmp_path, 1)  # coded again, for what is new
    assert len(coded) == 21
    assert [row.metrics["psnr"] for row in more.results.item_results] == [
        row.metrics["psnr"] for row in first.results.item_results
    ]
    assert {reason for row in more.results.item_results for reason in row.failures} == {"ms-ssim"}  # too small for it


def test_damaged_cache_entries_are_measured_again(pictures: Path, tmp_path: Path, in_process: None) -> None:
    requested = plan(pictures, samples=3)
    first = run(requested, tmp_path, 1)
    for path in sorted(tmp_path.rglob("*.*"))[::2]:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    again = run(requested, tmp_path, 1)
    assert again.results == first.results
    for sample in again.samples:
        assert len(sample.decoded) == 3


def test_interrupted_run_continues(pictures: Path, tmp_path: Path) -> None:
    """A run is killed with its workers; a second one finishes it with the same results."""
    command = [
        sys.executable,
        "-c",
        "from narrows.cli import main; main()",
        "evaluate",
        "-m",
        "jpeg@20,50,80",
        "-m",
        "avif@50",
        "--no-speed",
    ]
    command += ["--data", str(pictures), "--metrics", "psnr", "--jobs", "2", "-o"]
    process = subprocess.Popen([*command, str(tmp_path / "a")], start_new_session=True, stderr=subprocess.DEVNULL)
    cache, started = tmp_path / "a" / "cache", time.monotonic()
    while len(list(cache.rglob("*.json"))) < 2 and time.monotonic() < started + 60 and process.poll() is None:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = {path: path.stat().st_mtime_ns for path in cache.rglob("*.json")}
    assert done
    subprocess.run([*command, str(tmp_path / "a")], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert all(path.stat().st_mtime_ns == when for path, when in done.items())
    subprocess.run([*command, str(tmp_path / "b")], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for name in ("results.json", "item_results.csv", "item_results.parquet", "summary.csv", "index.html"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_failures_are_counted_with_reasons(
    pictures: Path, tmp_path: Path, in_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(reference: Signal, decoded: Signal) -> float:
        if reference.amount > 40 * 60:
            raise NotMeasurable("too large")
        raise RuntimeError("a fault\nof two lines")

    monkeypatch.setitem(registry._METRICS, "odd", Metric("odd", "image", "", "higher", "fails", measure))

    def round_trip(self: OperatingPoint, signal: Signal, folder: Path) -> CodingResult:
        if self.setting == 80:
            raise NarrowsError("not this one")
        return CodingResult(signal, 7)

    monkeypatch.setattr(ImageBaseline, "round_trip", round_trip)
    (pictures / "x.png").write_bytes(b"not an image")
    try:
        results = run(plan(pictures, metrics=("psnr", "odd")), tmp_path, 1).results
    finally:
        (pictures / "x.png").unlink()
    assert list(results.unreadable) == ["x.png"]
    told = {summary.point.name: summary for summary in results.summaries()}
    assert told["jpeg@80"].failed == {"coding": 3, "psnr": 3, "odd": 3}
    assert told["jpeg@20"].failed == {"coding": 0, "psnr": 3, "odd": 3}
    row = next(row for row in results.item_results if (row.item, row.point) == ("2.png", "jpeg@20"))
    assert row.failures == {"psnr": "identical", "odd": "too large"}
    row = next(row for row in results.item_results if (row.item, row.point) == ("0.png", "jpeg@20"))
    assert row.failures["odd"] == "RuntimeError: a fault of two lines"
    row = next(row for row in results.item_results if row.point == "jpeg@80")
    assert row.failures["coding"] == "not this one"


def test_set_metrics(pictures: Path, tmp_path: Path, in_process: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def features(signal: Signal) -> np.ndarray:
        assert isinstance(signal, Image)
        return signal.pixels.mean((1, 2))[None].astype(np.float64)

    def distance(x: np.ndarray, y: np.ndarray) -> float:
        assert x.shape == y.shape == (3, 3)
        return float(np.abs(x.mean(0) - y.mean(0)).sum())

    monkeypatch.setitem(
        registry._METRICS, "means", SetMetric("means", "image", "", "lower", "of means", features, distance)
    )
    for _ in range(2):
        results = run(plan(pictures, metrics=("psnr", "means")), tmp_path, 1).results
        assert all(set(row.metrics) == {"psnr"} for row in results.item_results)
        assert results.set_metrics.keys() == {"jpeg@20", "jpeg@80", "webp@50"}
        summary = results.summaries()[0]
        assert summary.metrics["means"].mean == results.set_metrics["jpeg@20"]["means"] > 0
        assert summary.failed["means"] == 0


def test_unavailable_points_are_skipped(
    pictures: Path, tmp_path: Path, in_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from narrows.evaluation.base import Unavailable

    def check(self: ImageBaseline) -> None:
        if self.family == "webp":
            raise Unavailable("this Pillow has no WebP")

    monkeypatch.setattr(ImageBaseline, "check", check)
    results = run(plan(pictures), tmp_path, 1).results
    assert results.skipped == {"webp@50": "this Pillow has no WebP"}
    assert results.families == ["jpeg"]
    with pytest.raises(InputError, match="no operating point can be used here; webp@50: this Pillow"):
        run(plan(pictures, "webp@50"), tmp_path, 1)


def test_metrics_without_their_package_are_left_out(
    pictures: Path, tmp_path: Path, in_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check() -> None:
        raise InputError("expected the package x, got none")

    odd = Metric("odd", "image", "", "higher", "fails", lambda x, y: 0.0, check)
    monkeypatch.setitem(registry._METRICS, "odd", odd)
    results = run(plan(pictures, metrics=("odd", "psnr")), tmp_path, 1).results
    assert results.skipped == {"odd": "expected the package x, got none"}
    assert [info.name for info in results.metrics] == ["psnr"]
    with pytest.raises(InputError, match="no metric can be used here; odd: expected the package x"):
        run(plan(pictures, metrics=("odd",)), tmp_path, 1)


def test_invalid_requests_are_rejected(pictures: Path, tmp_path: Path, in_process: None) -> None:
    with pytest.raises(InputError, match="expected metrics of image, got estoi of audio"):
        run(plan(pictures, metrics=("estoi",)), tmp_path, 1)
    with pytest.raises(InputError, match="a model with codebooks for bit flips"):
        run(plan(pictures, bit_flips=(0.1,)), tmp_path, 1)
    (tmp_path / "bad.png").write_bytes(b"x")
    with pytest.raises(InputError, match=r"no item can be read; the first: .*bad\.png"):
        run(plan(tmp_path), tmp_path / "cache", 1)


def test_keys_are_unique() -> None:
    known = operating_points(["jpeg@10,20", "jpeg-444@10", "webp@10", "avif@10", "avif-444@10", "jpeg2000@30"])
    known += operating_points(["x264-intra@10", "x265-intra@10", "vp9-intra@10"])
    known += operating_points(["x264@10,20", "x265@10", "vp9@10", "svt-av1@10"])
    known += operating_points(["opus@6,12", "opus-voip@6", "aac@16", "mp3@16", "flac"])
    keys = {json.dumps(dict(point.key), sort_keys=True) for point in known}
    assert len(keys) == len(known)


def test_audio_of_mixed_sample_rates_and_silence(tmp_path: Path, in_process: None) -> None:
    rng, data = np.random.default_rng(0), tmp_path / "data"
    data.mkdir()
    for rate in (8000, 44100):
        soundfile.write(data / f"{rate}.wav", 0.1 * rng.normal(size=rate), rate)
    soundfile.write(data / "silence.wav", np.zeros(16000), 16000)
    soundfile.write(data / "short.wav", 0.1 * rng.normal(size=3), 16000)
    results = run(plan(data, "opus@24", metrics=("estoi", "si-sdr", "mel-distance")), tmp_path, 1).results
    rows = {row.item: row for row in results.item_results}
    assert set(rows["44100.wav"].metrics) == {"estoi", "si-sdr", "mel-distance"}
    assert "si-sdr" in rows["silence.wav"].failures
    assert "estoi" in rows["short.wav"].failures
    assert results.summaries()[0].failed["estoi"] >= 2


def test_cache_lookup(pictures: Path, tmp_path: Path) -> None:
    requested = plan(pictures)
    item, point, cache = requested.items[0], requested.points[0], MeasurementCache(tmp_path)
    measured = measure_item(item, point, ["psnr"], True, None)
    cache.store(item, point, measured)
    found = cache.load(item, point)
    assert found is not None
    assert (found.result, found.definitions, found.bands) == (measured.result, measured.definitions, measured.bands)
    assert np.array_equal(found.arrays["decoded"], measured.arrays["decoded"])
    assert cache.load(replace(item, digest="0" * 64), point) is None
    assert cache.load(item, requested.points[1]) is None


def test_items_with_equal_bytes_share_a_measurement(pictures: Path, tmp_path: Path, in_process: None) -> None:
    (tmp_path / "twice").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "twice" / name).write_bytes((pictures / "0.png").read_bytes())
    measured = run(plan(tmp_path / "twice", "jpeg@20", samples=1), tmp_path / "cache", 1)
    assert [(sample.item, [*sample.decoded]) for sample in measured.samples] == [("a.png", ["jpeg@20"])]


def test_failed_speed_measurement_is_reported(
    pictures: Path, tmp_path: Path, in_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise NarrowsError("its process ended")

    monkeypatch.setattr(runs, "measure_speed", broken)
    results = run(plan(pictures, "jpeg@20", speed=True), tmp_path, 1).results
    assert results.points[0].speed is None
    assert results.skipped == {"speed of jpeg@20": "its process ended"}


def test_evaluate_takes_paths_as_text(pictures: Path, tmp_path: Path) -> None:
    results = narrows.evaluate(["jpeg@20"], [str(pictures)], str(tmp_path / "out"), metrics=["psnr"], speed=False)
    assert len(results.items) == 3
    assert (tmp_path / "out" / "index.html").exists()


@pytest.mark.parametrize(
    ("models", "data", "out", "message"),
    [
        ("jpeg@20", ["."], "out", "expected models as a list"),
        (["jpeg@20"], "photos", "out", "expected data as a list, got 'photos'"),
        (["jpeg@20"], None, "file/below", "expected a folder for -o, got the file"),
    ],
)
def test_wrong_arguments_of_evaluate_are_named(
    pictures: Path, tmp_path: Path, models: list[str], data: list[str] | None, out: str, message: str
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NarrowsError, match=message):
        narrows.evaluate(models, data or [pictures], tmp_path / out)
