"""Runs of classifiers with codes inside."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from narrows.checkpoints import read_classifier
from narrows.errors import InputError
from narrows.recipes import run
from narrows.recipes.data.labelled import LabelledImages
from narrows.recipes.data.synthetic import write_labelled_images
from narrows.recipes.key_value_classifier import FrozenBackbone, Keys, key_value_classifier
from narrows.recipes.narrowed_classifier import Student, Teacher, narrowed_classifier
from narrows.recipes.settings import AdamW, LabelledData, Schedule

CONV = {"widths": [16, 24]}
SCHEDULE = Schedule(steps=150, warmup_steps=5, validate_every=50, ema_decay=0.9)


def metrics(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> LabelledData:
    """Stripes of four directions, which a small network learns in seconds."""
    folder = tmp_path_factory.mktemp("stripes") / "data"
    write_labelled_images(folder, 4, 16)
    return LabelledData(folder, folder, size=16, batch_size=8)


def narrowed(data: LabelledData, teacher_steps: int = 50, **more):
    teacher = Teacher("conv-classifier", 4, options=CONV, steps=teacher_steps)
    student = Student(1, 4, 16, (2, 2), 16)
    fast = AdamW(lr=5e-3, betas=(0.9, 0.99))
    settings = {"beta": 0.3, "matching_steps": 50, "optimizer": fast, "tail_optimizer": fast, "schedule": SCHEDULE}
    return narrowed_classifier(teacher, student, data, **(settings | more))


@pytest.fixture(scope="module")
def trained(data: LabelledData, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("narrowed")
    run(narrowed(data), folder)
    return folder


def test_a_narrowed_classifier_classifies_from_few_bytes(trained: Path, data: LabelledData) -> None:
    model = read_classifier(trained / "checkpoint")
    images = LabelledImages(data.train, 16)
    streams = model.compress([images[index] for index in range(len(images))])
    assert model.classify(streams).argmax(1).tolist() == images.labels.tolist()
    assert model.labels == ("0000", "0001", "0002", "0003")
    validated = [line for line in metrics(trained) if "valid/accuracy" in line]
    assert [line["step"] for line in validated] == [50, 100, 150]
    last = validated[-1]
    assert last["valid/accuracy"] == 1
    assert last["valid/bytes"] == pytest.approx(sum(map(len, streams)) / len(streams), abs=4)
    assert 0 < last["valid/payload_bytes"] < 48 < last["valid/bytes"]


def test_each_phase_trains_its_own_weights(data: LabelledData, tmp_path: Path) -> None:
    """States at the ends of phases: the teacher alone, then the narrow part, then decoder and last stages."""
    states = {}
    for steps, matching in ((4, 0), (8, 4), (12, 4)):
        schedule = replace(SCHEDULE, steps=steps, validate_every=steps)
        recipe = narrowed(data, 4, matching_steps=matching, schedule=schedule)
        out = tmp_path / str(steps)
        run(recipe, out)
        states[steps] = torch.load(out / "last.ckpt", weights_only=True)["state_dict"]

    def changed(a: int, b: int, prefix: str) -> bool:
        names = [name for name in states[a] if name.startswith(prefix) and "num_batches" not in name]
        return any(not torch.equal(states[a][name], states[b][name]) for name in names)

    assert not changed(4, 8, "teacher.")
    assert not changed(8, 12, "teacher.")
    assert changed(4, 8, "codec.encoder.")
    assert not changed(8, 12, "codec.encoder.")
    assert not changed(8, 12, "codec.bottleneck.")
    assert changed(8, 12, "codec.decoder.")
    assert changed(8, 12, "codec.tail.")
    for name, value in states[8].items():
        if name.startswith("codec.tail."):
            assert torch.equal(value, states[8][name.replace("codec.tail.", "teacher.")]), name


def test_beta_trades_bits_for_features(trained: Path, data: LabelledData, tmp_path: Path) -> None:
    run(narrowed(data, beta=30.0), tmp_path / "small")
    few, more = (read_classifier(folder / "checkpoint") for folder in (tmp_path / "small", trained))
    images = [pixels for _, pixels in LabelledImages(data.train, 16).readable(range(8))]
    assert sum(map(len, few.compress(images))) < sum(map(len, more.compress(images))) - 8


def test_a_trained_teacher_is_taken_as_it_is(trained: Path, data: LabelledData, tmp_path: Path) -> None:
    state = torch.load(trained / "last.ckpt", weights_only=True)["state_dict"]
    weights = {name.removeprefix("teacher."): value for name, value in state.items() if name.startswith("teacher.")}
    save_file(weights, tmp_path / "teacher.safetensors")
    teacher = Teacher("conv-classifier", 4, tmp_path / "teacher.safetensors", CONV)
    recipe = narrowed_classifier(
        teacher, Student(1, 4, 16, (2, 2), 16), data, matching_steps=4, schedule=replace(SCHEDULE, steps=4)
    )
    run(recipe, tmp_path / "run")
    after = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["state_dict"]
    for name, value in weights.items():
        assert torch.equal(after[f"teacher.{name}"], value), name
        if f"codec.tail.{name}" in after:
            assert torch.equal(after[f"codec.tail.{name}"], value), name


def test_a_run_goes_on_where_it_was_stopped(data: LabelledData, tmp_path: Path) -> None:
    """Runs that end within the second and the third phase, and go on."""
    schedule = replace(SCHEDULE, steps=16, validate_every=3)
    for steps in (7, 12, 16):
        recipe = narrowed(data, 4, matching_steps=min(6, steps - 4), schedule=replace(schedule, steps=steps))
        recipe = replace(recipe, schedule=replace(schedule, decay_fraction=0.0, steps=steps))
        run(recipe, tmp_path / "parts", change=True)
    flat = replace(schedule, decay_fraction=0.0)
    run(narrowed(data, 4, matching_steps=6, schedule=flat), tmp_path / "flat")
    parts, flat_run = (load_file(tmp_path / name / "checkpoint" / "model.safetensors") for name in ("parts", "flat"))
    assert all(torch.equal(parts[name], flat_run[name]) for name in flat_run)


def test_key_values_learn_class_by_class(data: LabelledData, tmp_path: Path) -> None:
    recipe = key_value_classifier(
        FrozenBackbone("conv-classifier", options={"widths": [16, 48]}, stages=2),
        Keys(16, 32, 6, 20),
        data,
        classes=4,
        classes_per_task=1,
        schedule=Schedule(steps=100, warmup_steps=1, decay_fraction=0.0, validate_every=40, ema_decay=0.0),
    )
    training = recipe.training()
    assert [training.classes_at(step) for step in (0, 19, 20, 39, 40, 99)] == [
        None,
        None,
        range(1),
        range(1),
        range(1, 2),
        range(3, 4),
    ]
    run(recipe, tmp_path)
    accuracies = [line["valid/accuracy"] for line in metrics(tmp_path) if "valid/accuracy" in line]
    assert accuracies == [0.25, 0.75, 1.0]  # one class after another, and none is forgotten
    model = read_classifier(tmp_path / "checkpoint")
    assert model.codec.bottleneck.codebook_sizes == (32,) * 16


def test_wrong_settings_are_refused(data: LabelledData) -> None:
    with pytest.raises(InputError, match=r"expected at most the 150 steps .*, got 50 \+ 200"):
        narrowed(data, matching_steps=200)
    with pytest.raises(InputError, match=r"expected images of 5 classes in data\.train, as the network has, got 4"):
        key_value_classifier(FrozenBackbone("conv-classifier", stages=2), Keys(2, 4), data, classes=5).training()
    with pytest.raises(InputError, match="expected fewer steps of keys than the 5000"):
        key_value_classifier(FrozenBackbone("conv-classifier", stages=2), Keys(2, 4, 2, 5000), data)
    with pytest.raises(InputError, match=r"expected student.strides with a product of at least 4"):
        narrowed_classifier(Teacher("conv-classifier"), Student(strides=(2, 1)), data)


def test_smoke_runs_write_checkpoints(tmp_path: Path) -> None:
    teacher = Teacher("conv-classifier", 3, options=CONV)
    run(narrowed_classifier(teacher, Student(1, 4, 16, (2, 2), 16)), tmp_path / "narrowed", smoke=True)
    keys = key_value_classifier(FrozenBackbone("resnet10t", stages=5), Keys(4, 8), classes=3)
    run(keys, tmp_path / "key-value", smoke=True)
    for name in ("narrowed", "key-value"):
        model = read_classifier(tmp_path / name / "checkpoint")
        assert model.size == 64
        assert model.tables is not None
