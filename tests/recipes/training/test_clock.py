"""Runs with a limit of time."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import narrows
from narrows.errors import InputError
from narrows.recipes.settings import Schedule
from narrows.recipes.training import clock as clocks
from narrows.recipes.training.audio import AudioRecipe, AudioTraining
from narrows.recipes.training.clock import Clock, timed
from narrows.recipes.training.run import run

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
Recipes = Callable[..., AudioRecipe]
CPU = torch.device("cpu")
LONG = Schedule(steps=100_000, validate_every=50_000, warmup_steps=2, decay_fraction=0.5)


class Now:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf"), True, "5"])
def test_minutes_that_are_no_time_are_refused(minutes: Any, tiny: Recipes, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^expected minutes above 0, got"):
        run(tiny(), tmp_path / "run", minutes=minutes)
    assert not (tmp_path / "run").exists()


def test_the_learning_rate_follows_the_time() -> None:
    now = Now()
    clock = Clock(1.0, now)  # 54 seconds for steps
    schedule = timed(Schedule(1000, 100, 0.5, 0.1, 10, 0.9), clock)
    fractions = []
    for seconds in (0.0, 1.35, 27.0, 40.5, 54.0):
        now.now = 100.0 + seconds
        clock.tick(CPU)
        fractions.append(schedule.lr_fraction(9))
    assert fractions == pytest.approx([0.1, 0.5, 1.0, 0.5, 0.1])  # at first 10 of 100 warm-up steps, then 2.5 of 5 %
    assert clock.over
    assert clock.left == 0.0
    assert timed(schedule, Clock(None)) is schedule


def test_steps_that_are_done_before_the_time_end_the_schedule_as_well() -> None:
    schedule, late = Schedule(100, 10, 0.5, 0.1, 10, 0.9), timed(Schedule(100, 10, 0.5, 0.1, 10, 0.9), Clock(1e6))
    assert [late.lr_fraction(step) for step in range(100)] == pytest.approx(
        [schedule.lr_fraction(step) for step in range(100)]
    )


def test_the_time_of_a_validation_is_reserved() -> None:
    now = Now()
    clock = Clock(1.0, now)
    clock.validation = 27.0
    now.now += 26.9
    clock.tick(CPU)
    assert not clock.over
    now.now += 0.2
    clock.tick(CPU)
    assert clock.over


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_run_delivers_its_checkpoint_in_time(
    tiny: Recipes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = time.monotonic()
    checkpoint = run(tiny(schedule=LONG), tmp_path, minutes=0.1)
    assert time.monotonic() - start < 6.5
    assert narrows.load(checkpoint).tables is not None
    last = metrics(tmp_path)[-1]
    assert "valid/spectral" in last
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert 0 < state["state_dict"]["step"] == last["step"] < 100_000
    assert state["over"]
    assert 4.5 < state["seconds"] < 6
    lr = state["optimizer_states"][0]["param_groups"][0]
    assert lr["lr"] < 0.1 * lr["peak_lr"]
    capsys.readouterr()
    before = (checkpoint / "model.safetensors").stat()
    run(tiny(schedule=LONG), tmp_path, minutes=0.1)
    assert "give more --minutes with --change to go on" in capsys.readouterr().out
    assert (checkpoint / "model.safetensors").stat() == before
    with pytest.raises(InputError, match=r"got minutes 0.1 -> 0.11; use another --out, or --change"):
        run(tiny(schedule=LONG), tmp_path, minutes=0.11)
    run(tiny(schedule=LONG), tmp_path, minutes=0.11, change=True)
    assert metrics(tmp_path)[-1]["step"] > last["step"]


def test_a_resumed_run_has_the_rest_of_the_time(tiny: Recipes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = AudioTraining.training_step

    def stopped(self: AudioTraining, x: torch.Tensor, index: int) -> None:
        step(self, x, index)
        if int(self.step) == 5:
            raise KeyboardInterrupt

    recipe = tiny(schedule=replace(LONG, validate_every=4))
    with monkeypatch.context() as patched:
        patched.setattr(AudioTraining, "training_step", stopped)
        with pytest.raises(KeyboardInterrupt):
            run(recipe, tmp_path, minutes=0.1)
    spent = torch.load(tmp_path / "last.ckpt", weights_only=True)["seconds"]
    assert spent > 0.05
    seen: list[Clock] = []
    resume = Clock.resume
    monkeypatch.setattr(Clock, "resume", lambda self, spent: (seen.append(self), resume(self, spent + 4.0)))
    start = time.monotonic()
    run(replace(tiny(), schedule=replace(LONG, validate_every=4)), tmp_path, minutes=0.1)
    assert time.monotonic() - start < 2.5


def test_the_last_validation_and_the_tables_are_cut_short(
    tiny: Recipes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []
    validate, fit = AudioTraining.validation_step, AudioTraining.fit_tables

    def slow(self: AudioTraining, x: torch.Tensor, index: int) -> None:
        validate(self, x, index)
        monkeypatch.setattr(clocks, "VALIDATED", 0.0)  # the time is over
        monkeypatch.setattr("narrows.recipes.training.loop.VALIDATED", 0.0)

    def fitted(self: AudioTraining, tokenizer: Any) -> Any:
        seen.append(self.deadline - time.monotonic())
        return fit(self, tokenizer)

    monkeypatch.setattr(AudioTraining, "validation_step", slow)
    monkeypatch.setattr(AudioTraining, "fit_tables", fitted)
    run(tiny(schedule=replace(LONG, steps=2)), tmp_path, minutes=1.0)
    assert len(metrics(tmp_path)) == 1
    assert 45 < seen[0] < 0.97 * 60
    run(tiny(schedule=replace(LONG, steps=2)), tmp_path / "unlimited")
    assert seen[-1] == float("inf")
