import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch

import narrows
from narrows import datasets
from narrows.datasets import tokenize as module
from narrows.datasets.engines.ranks import Rank
from narrows.datasets.tokenize import Task, tokenize
from narrows.errors import InputError, MediaError
from narrows.media import image
from narrows.media.image.resize import Resize

ALONE = Rank(0, 1)
Digests = Callable[[Path], dict[str, str]]


@pytest.fixture
def task(model: str, recordings: Path, tmp_path: Path) -> Task:
    source = shutil.copytree(recordings, tmp_path / "source")
    return Task(str(source), model, tmp_path / "out", minutes=0.05)


def test_finished_shards_are_skipped(task: Task, digests: Digests) -> None:
    first = tokenize(task, ALONE)
    before = digests(task.out)
    lost = sorted(task.out.glob("*.parquet"))[1]
    lost.unlink()
    times = {path: path.stat().st_mtime_ns for path in task.out.iterdir()}
    second = tokenize(task, ALONE)
    assert digests(task.out) == before
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert (second.items, second.shards, second.skipped) == (first.items, first.shards, first.shards - 1)


def test_manifest(task: Task, model: str) -> None:
    summary = tokenize(task, ALONE)
    manifest = json.loads((task.out / "manifest.json").read_text())
    assert (len(manifest["shards"]), sum(manifest["shards"])) == (summary.shards, 9)
    facts = {"items": 9, "medium": "audio", "model": "tiny", "depth": 3, "batch": 1}
    assert facts.items() <= manifest.items()


@pytest.mark.parametrize(
    "change", [{"codebooks": 1}, {"minutes": 0.1}, {"limit": 8}, {"batch": 4}], ids=lambda change: next(iter(change))
)
def test_other_options_in_the_same_folder_are_refused(task: Task, digests: Digests, change: dict[str, int]) -> None:
    tokenize(task, ALONE)
    before = digests(task.out)
    with pytest.raises(InputError, match=r"contains another run: \w+ .*, not .*; choose another folder"):
        tokenize(replace(task, **change), ALONE)
    assert digests(task.out) == before


def test_another_model_and_another_source_are_refused(task: Task, tiny_checkpoint: Callable[..., Path]) -> None:
    tokenize(task, ALONE)
    with pytest.raises(InputError, match="another run: fingerprint"):
        tokenize(replace(task, model=str(tiny_checkpoint("tiny", 1))), ALONE)
    next(Path(task.source).rglob("*.wav")).unlink()
    with pytest.raises(InputError, match="another run: items 9, not 8"):
        tokenize(task, ALONE)


def test_output_inside_the_source_is_refused(task: Task) -> None:
    for out in (Path(task.source) / "tokens", Path(task.source)):
        with pytest.raises(InputError, match="expected an output folder outside"):
            tokenize(replace(task, out=out), ALONE)


def test_one_of_two_concurrent_runs_is_refused(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*arguments: object) -> object:
        monkeypatch.setattr(module, "plan_shards", shards)
        tokenize(replace(task, codebooks=1), ALONE)  # begins later and is quicker
        return shards(*arguments)  # type: ignore[arg-type]

    shards = module.plan_shards
    monkeypatch.setattr(module, "plan_shards", slow)
    with pytest.raises(InputError, match=r"another run: radices .*, not "):
        tokenize(task, ALONE)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 0}', "[" * 100_000])
def test_other_manifests_are_refused(task: Task, text: str) -> None:
    task.out.mkdir()
    (task.out / "manifest.json").write_text(text)
    with pytest.raises(InputError, match="contains another run"):
        tokenize(task, ALONE)


def test_shards_without_a_manifest_are_refused(task: Task) -> None:
    tokenize(task, ALONE)
    (task.out / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"expected manifest\.json beside"):
        tokenize(task, ALONE)


def test_a_folder_that_cannot_be_made_is_refused(task: Task) -> None:
    task.out.write_text("a file")
    with pytest.raises(MediaError, match="choose another folder"):
        tokenize(task, ALONE)


def test_a_batch_of_0_is_refused(task: Task) -> None:
    with pytest.raises(InputError, match="expected a batch of at least 1, got 0"):
        replace(task, batch=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 0}, "expected a size from 1 to 16384 pixels, got 0"),
        ({"size": 8, "crop": "fit"}, "expected a crop of center, resize, got 'fit'"),
        ({"crop": "center"}, "expected a size with a crop, got only the crop 'center'"),
        ({"source": []}, "expected at least one source"),
        ({"source": ["a", 3]}, "expected source as a path, got 3"),
    ],
)
def test_settings_out_of_range_are_refused(task: Task, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tokenize(replace(task, **change), ALONE)


def test_a_size_is_for_images(task: Task) -> None:
    with pytest.raises(InputError, match="expected images for a size, got audio for tiny; leave it out"):
        tokenize(replace(task, size=16), ALONE)
    assert not task.out.exists()


def test_images_of_one_size_with_labels(image_models: dict[str, str], images: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    for label in ("cat", "dog"):
        shutil.copytree(images, source / label)
    task = Task(source, image_models["codes"], tmp_path / "out", size=24)
    assert tokenize(task, ALONE).items == 10
    data = datasets.load(task.out, with_meta=True)
    assert {(tokens.extent.height, tokens.extent.width) for tokens in (each.value for each in data)} == {(24, 24)}
    assert [example.meta for example in data] == [{"label": label} for label in ("cat", "dog") for _ in range(5)]
    tokenizer = narrows.load(task.model)
    picture = Resize(24)(image.read(source / "cat" / "p1.png").pixels)
    assert torch.equal(data.by_key("cat/p1").value.codes, tokenizer.encode(picture).codes)
    for change in ({"size": 25}, {"crop": "resize"}, {"size": None}):
        with pytest.raises(InputError, match=r"contains another run: resize .*, not "):
            tokenize(replace(task, **change), ALONE)
    assert tokenize(replace(task, crop="center"), ALONE).skipped == 1  # the same as without it


def test_several_sources(task: Task) -> None:
    both = replace(task, source=[Path(str(task.source)) / "d0", Path(str(task.source)) / "d1"])
    tokenize(both, ALONE)
    data = datasets.load(task.out, order="source", with_meta=True)
    assert data.keys == [f"d{n % 2}/r{n}" for n in (0, 2, 4, 6, 8, 1, 3, 5, 7)]
    assert {example.meta["label"] for example in data} == {"d0", "d1"}
    with pytest.raises(InputError, match="expected an output folder outside of"):
        tokenize(replace(both, out=Path(str(task.source)) / "d1" / "out"), ALONE)


def test_a_model_for_files_is_told_of(image_checkpoint: Path, images: Path, task: Task, tmp_path: Path) -> None:
    lines = list[str]()
    entropy = Task(images, image_checkpoint, tmp_path / "images")
    for _ in range(2):  # the second run has nothing to do
        assert tokenize(entropy, ALONE, notice=lines.append).items == 5
    assert lines == [
        "small is made for small files, not for language models: 8 codes per 16 × 16 pixels, of a vocabulary of "
        "32,768; for these use image-tokens, or train a tokenizer"
    ]
    tokenize(task, ALONE, notice=lines.append)
    assert len(lines) == 1


def test_retry_makes_shards_with_failures_again(task: Task, digests: Digests) -> None:
    bad = Path(task.source) / "d0" / "r6.wav"
    good = bad.read_bytes()
    samples, rate = soundfile.read(bad)
    bad.write_bytes(good[: len(good) - 100] + bytes(100))
    soundfile.write(bad, samples, rate)
    tokenize(replace(task, out=task.out.with_name("expected")), ALONE)
    expected = {name: one for name, one in digests(task.out.with_name("expected")).items() if "parquet" in name}

    bad.write_bytes(b"RIFF" + bytes(400))  # of another size
    first = tokenize(replace(task, limit=None), ALONE)
    assert (first.items, first.failures) == (8, 1)
    assert len(list(task.out.glob("*.errors.jsonl"))) == 1
    assert tokenize(task, ALONE).failures == 1  # reported again, but not tried
    bad.write_bytes(good)
    times = {path.name: path.stat().st_mtime_ns for path in task.out.glob("*.parquet")}
    last = tokenize(task, ALONE, retry=True)
    assert (last.items, last.failures, last.skipped) == (9, 0, last.shards - 1)
    assert {name: one for name, one in digests(task.out).items() if "parquet" in name} == expected
    assert not list(task.out.glob("*.errors.jsonl"))
    assert sum(path.stat().st_mtime_ns != times[path.name] for path in task.out.glob("*.parquet")) == 1


def test_paths_may_be_text_and_the_engine_is_left_out(task: Task, digests: Digests) -> None:
    tokenize(task, ALONE)
    out = task.out.with_name("again")
    summary = narrows.tokenize(datasets.Task(Path(task.source), Path(task.model), str(out), minutes=task.minutes))
    assert summary.items + summary.failures == 9
    assert digests(out) == digests(task.out)


def test_what_is_no_task_is_refused(task: Task) -> None:
    with pytest.raises(InputError, match=r"expected a Task, got 'recordings'; make one with narrows.datasets.Task"):
        narrows.tokenize("recordings")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="expected out as a path, got None"):
        replace(task, out=None)
