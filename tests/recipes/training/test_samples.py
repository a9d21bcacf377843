"""Samples, the report and the best weights of a run, and what may go wrong with them."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import narrows
from narrows.errors import InputError
from narrows.media.audio import Audio, read
from narrows.media.image import Image
from narrows.media.image import read as read_image
from narrows.recipes.settings import Schedule
from narrows.recipes.training import loop
from narrows.recipes.training.audio import AudioRecipe, AudioTraining
from narrows.recipes.training.report import curves, read_metrics, write_report
from narrows.recipes.training.run import run
from narrows.recipes.training.samples import drop_samples_after, read_samples, write_samples
from narrows.report.document import figures
from narrows.report.embedding import MediaSample

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
Recipes = Callable[..., AudioRecipe]
TONE = Audio(np.linspace(-0.5, 0.5, 1600, dtype=np.float32)[None], 16_000)


def test_a_run_writes_samples_of_its_validations_and_a_report(tiny: Recipes, tmp_path: Path, vowels: Path) -> None:
    run(tiny(), tmp_path)
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == ["step-3", "step-6", "step-7"]
    folder = tmp_path / "samples" / "step-7"
    names = ["1-decoded.flac", "1-original.flac", "2-decoded.flac", "2-original.flac"]
    assert sorted(path.name for path in folder.iterdir()) == names
    original, decoded = read(folder / "1-original.flac"), read(folder / "1-decoded.flac")
    assert original.sample_rate == decoded.sample_rate == 16_000
    assert original.samples.shape == decoded.samples.shape == (1, 32_000)
    np.testing.assert_allclose(original.samples, read(vowels / "vowel-0.wav").samples, atol=1e-4)
    page = (tmp_path / "report.html").read_text()
    assert page.count("<audio") == 4
    assert page.count('class="plot"') >= 5
    assert "step 7 of 7" in page
    assert "optimizer.lr" in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")


def test_samples_of_the_last_validations_are_kept(tmp_path: Path) -> None:
    samples = [MediaSample("1", TONE, {"quality 2": TONE})]
    for step in range(1, 9):
        write_samples(tmp_path, samples, step)
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == [f"step-{step}" for step in range(4, 9)]
    drop_samples_after(6, tmp_path)
    step, read_back = read_samples(tmp_path)
    assert step == 6
    assert [sample.item for sample in read_back] == ["1"]
    assert list(read_back[0].decoded) == ["quality-2"]


def test_samples_of_images_are_png_files(tmp_path: Path) -> None:
    pixels = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
    write_samples(tmp_path, [MediaSample("1", Image(pixels), {"decoded": Image(pixels)})], 2)
    assert (read_image(tmp_path / "samples" / "step-2" / "1-decoded.png").pixels == pixels).all()
    write_report(tmp_path)
    assert "data:image/webp" in (tmp_path / "report.html").read_text()


def test_tensors_become_signals_of_limited_length(tiny: Recipes) -> None:
    training = tiny().training()
    nan = torch.full((1, 20_000), float("nan"))
    for _ in range(9):
        training.log_sample(2 * torch.ones(1, 20_000), {"decoded": nan}, 1000)
    assert len(training.samples) == 4
    (sample, *_) = training.samples
    assert isinstance(sample.reference, Audio)
    assert sample.reference.samples.shape == (1, 10_000)
    assert sample.reference.samples.max() == 1.0
    training.on_validation_epoch_start()
    training.log_sample(torch.tensor([-1.0, 0.0, 1.0]).expand(3, 2, 3), {})
    (sample,) = training.samples
    assert isinstance(sample.reference, Image)
    assert sample.reference.pixels[0, 0].tolist() == [0, 128, 255]
    large = torch.linspace(-1, 1, 1001).expand(3, 10, 1001)
    training.log_sample(large, {})
    reference = training.samples[1].reference
    assert isinstance(reference, Image)
    assert reference.pixels.shape == (3, 10, 768)
    assert reference.pixels[0, 0, 384] in (127, 128)  # the centre


def test_names_are_escaped_and_broken_lines_left_out(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    record = {"recipe": {"name": evil, "codec": {"part": evil}}, "changes": [], "target": evil}
    (tmp_path / "recipe.json").write_text(json.dumps(record))
    lines = [{"step": 1, evil: 2.0, f"valid/{evil}": None}, {"step": 2, evil: None}, {"step": 3, evil: 1.0}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 4, "x')
    write_report(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    assert [line["step"] for line in read_metrics(tmp_path)] == [1, 2, 3]


def test_a_report_without_anything_is_a_page(tmp_path: Path) -> None:
    write_report(tmp_path)
    assert "step 0" in (tmp_path / "report.html").read_text()


def test_long_curves_show_means() -> None:
    lines = [{"step": step, "loss": float(step % 2), "valid/loss": 0.25} for step in range(1, 1001)]
    (plot,) = curves(lines)
    training, validation = plot.series
    assert len(training.marks) <= 60
    assert training.marks[-1].x == 1000
    assert training.marks[3].y == pytest.approx(0.5, abs=0.05)
    assert {mark.y for mark in validation.marks} == {0.25}
    (plot,) = curves([{"step": 1, "valid/pesq": 2.0}])
    (series,) = plot.series
    assert f"series c{series.style}" in figures([plot], with_legends=True).partition("legend")[2]


@pytest.fixture
def pesq(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """PESQ of the next validations; None for a validation without it."""
    values: list[float | None] = []
    count = [0]

    def metrics(*_: Any) -> dict[str, float]:
        value = values[count[0] // 2]  # of two recordings
        count[0] += 1
        return {} if value is None else {"pesq": value}

    monkeypatch.setattr("narrows.recipes.training.audio.speech_metrics", metrics)
    return values


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return narrows.load(folder).codec.state_dict()


@pytest.mark.parametrize(("values", "best"), [((1.0, 3.0, 2.0), 6), ((1.0, 2.0, 3.0), 7), ((2.0, 2.0, 1.0), 3)])
def test_the_best_weights_are_kept(
    values: Sequence[float], best: int, pesq: list[float | None], tiny: Recipes, tmp_path: Path
) -> None:
    pesq += values
    run(tiny(), tmp_path / "run")
    found = json.loads((tmp_path / "run" / "recipe.json").read_text())["best"]
    assert found == {"step": best, "metric": "pesq", "value": max(values)}
    kept = narrows.load(tmp_path / "run" / "best")
    assert kept.tables is not None
    pesq.extend([0.0] * 3)
    run(tiny(schedule=Schedule(best, 2, 0.0, 0.02, 3)), tmp_path / "short")  # the last weights of a shorter run
    for name, value in weights(tmp_path / "short" / "checkpoint").items():
        assert torch.equal(kept.codec.state_dict()[name], value), name
    assert f"that of step {best}." in (tmp_path / "run" / "report.html").read_text()


def test_the_metric_stays_the_same_where_it_is_missing_once(
    pesq: list[float | None], tiny: Recipes, tmp_path: Path
) -> None:
    pesq += [2.0, None, 1.0]
    run(tiny(), tmp_path)
    assert json.loads((tmp_path / "recipe.json").read_text())["best"] == {"step": 3, "metric": "pesq", "value": 2.0}


def test_another_metric_decides_where_the_first_is_missing(tiny: Recipes, tmp_path: Path) -> None:
    run(tiny(best={"missing": "higher", "spectral": "lower"}), tmp_path)
    record = json.loads((tmp_path / "recipe.json").read_text())["best"]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert record["metric"] == "spectral"
    assert record["value"] == min(line["valid/spectral"] for line in lines)
    run(tiny(best={"missing": "lower"}), tmp_path / "none")
    assert not (tmp_path / "none" / "best").exists()
    with pytest.raises(InputError, match=r"expected higher or lower as best\['pesq'\], got 'up'"):
        tiny(best={"pesq": "up"})


def test_what_is_only_shown_cannot_end_a_run(
    tiny: Recipes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("broken\nin two lines")

    for name in ("write_samples", "write_report"):
        monkeypatch.setattr(loop, name, broken)
    monkeypatch.setattr(AudioTraining, "write_codec", broken, raising=True)
    monkeypatch.setattr(AudioTraining, "write_checkpoint", lambda *_: None)
    run(tiny(), tmp_path)
    assert "samples: left out, RuntimeError: broken in two lines" in caplog.messages
    assert "report: left out, RuntimeError: broken in two lines" in caplog.messages
    assert "best: left out, RuntimeError: broken in two lines" in caplog.messages


def test_a_resumed_run_removes_later_samples(tiny: Recipes, tmp_path: Path) -> None:
    recipe = tiny()
    run(replace(recipe, schedule=replace(recipe.schedule, steps=3)), tmp_path)
    write_samples(tmp_path, [MediaSample("1", TONE, {})], 5)
    run(tiny(), tmp_path, change=True)
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == ["step-3", "step-6", "step-7"]


def test_a_folder_in_the_data_is_refused(tiny: Recipes, vowels: Path) -> None:
    """Its samples would be found as data."""
    for out in (vowels, vowels / "run"):
        with pytest.raises(InputError, match=r"expected an --out outside of data.train, got .*; choose another --out"):
            run(tiny(), out)
    assert not (vowels / "run").exists()
