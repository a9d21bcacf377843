"""Runs with a limit of time."""

import json
import os
import signal
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
from narrows.recipes.training import run as runs
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


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> Now:
    """The time of runs: a second for each step and each validated recording, nothing for all else."""
    now = Now()
    now.now = time.monotonic()
    monkeypatch.setattr(runs, "Clock", lambda minutes: Clock(minutes, now))
    for method in ("training_step", "validation_step"):
        original = getattr(AudioTraining, method)

        def wrapped(self: AudioTraining, x: torch.Tensor, index: int, original: Any = original) -> None:
            original(self, x, index)
            now.now += 1.0

        monkeypatch.setattr(AudioTraining, method, wrapped)
    return now


def test_a_run_delivers_its_checkpoint_in_time(
    tiny: Recipes, tmp_path: Path, simulated: Now, capsys: pytest.CaptureFixture[str]
) -> None:
    start = simulated.now
    checkpoint = run(tiny(schedule=LONG), tmp_path, minutes=1 / 3)  # 18 of 20 seconds for steps
    assert simulated.now - start == 19.0  # with one of two recordings: the next is due after 94 % of the time
    assert narrows.load(checkpoint).tables is not None
    (last,) = metrics(tmp_path)
    assert last["step"] == 18
    assert "valid/spectral" in last
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert state["over"]
    assert state["seconds"] == 19.0
    lr = state["optimizer_states"][0]["param_groups"][0]
    assert lr["lr"] == pytest.approx(lr["peak_lr"] * (1 - 17 / 18) / 0.5)
    capsys.readouterr()
    before = (checkpoint / "model.safetensors").stat()
    run(tiny(schedule=LONG), tmp_path, minutes=1 / 3)
    assert "finished at step 18; give more --minutes with --change to go on" in capsys.readouterr().out
    assert (checkpoint / "model.safetensors").stat() == before
    with pytest.raises(InputError, match=r"got minutes 0.33\S* -> 0.5; use another --out, or --change"):
        run(tiny(schedule=LONG), tmp_path, minutes=0.5)
    run(tiny(schedule=LONG), tmp_path, minutes=0.5, change=True)  # 27 seconds for steps, 19 of them spent
    assert [line["step"] for line in metrics(tmp_path)] == [18, 26]


def test_a_resumed_run_has_the_rest_of_the_time(
    tiny: Recipes, tmp_path: Path, simulated: Now, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = AudioTraining.training_step

    def stopped(self: AudioTraining, x: torch.Tensor, index: int) -> None:
        step(self, x, index)
        if int(self.step) == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(AudioTraining, "training_step", stopped)
    with pytest.raises(SystemExit):
        run(tiny(schedule=LONG), tmp_path, minutes=1 / 3)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["seconds"] == 5.0
    simulated.now += 1000.0
    run(tiny(schedule=LONG), tmp_path, minutes=1 / 3)
    assert [line["step"] for line in metrics(tmp_path)] == [18]


def test_the_last_validation_and_the_tables_are_cut_short(
    tiny: Recipes, tmp_path: Path, simulated: Now, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[float] = []
    fit = AudioTraining.fit_tables

    def fitted(self: AudioTraining, tokenizer: Any) -> Any:
        left.append(self.deadline - simulated.now)
        return fit(self, tokenizer)

    monkeypatch.setattr(AudioTraining, "fit_tables", fitted)
    run(tiny(schedule=LONG), tmp_path, minutes=1 / 6)  # 9 of 10 seconds for steps
    assert len(metrics(tmp_path)) == 1
    assert simulated.now - time.monotonic() < 10.5  # after 10 seconds, only one of two recordings was validated
    assert left == pytest.approx([0.2])
    run(tiny(schedule=replace(LONG, steps=2)), tmp_path / "unlimited")
    assert left[-1] == float("inf")
