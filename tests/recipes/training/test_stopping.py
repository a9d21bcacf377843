"""Runs that Ctrl-C or SIGTERM stops, and what they go on with."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from narrows.recipes.training import loop
from narrows.recipes.training.audio import AudioRecipe, AudioTraining
from narrows.recipes.training.run import run

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
ENDS = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: SystemExit}
Recipes = Callable[..., AudioRecipe]


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """The handlers of signals, which a run sets back."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    before = [signal.getsignal(number) for number in ENDS]
    yield
    assert [signal.getsignal(number) for number in ENDS] == before


@pytest.fixture
def send(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """send(*numbers, method, step): send this process signals at the start of a method of the training, once."""

    def prepare(*numbers: int, method: str = "training_step", step: int) -> None:
        original, left = getattr(AudioTraining, method), list(numbers)

        def wrapped(self: AudioTraining, *args: Any) -> Any:
            if int(self.step) == step:
                while left:
                    os.kill(os.getpid(), left.pop(0))
            return original(self, *args)

        monkeypatch.setattr(AudioTraining, method, wrapped)

    return prepare


@pytest.fixture
def whole(tiny: Recipes, tmp_path: Path) -> Path:
    """The folder of an uninterrupted run."""
    return run(tiny(), tmp_path / "whole").parent


def assert_equal_runs(first: Path, second: Path) -> None:
    """Weights, optimizers, metrics and checkpoints of two runs are equal, bit for bit."""
    states = [torch.load(folder / "last.ckpt", weights_only=True) for folder in (first, second)]
    for name, value in states[0]["state_dict"].items():
        assert torch.equal(states[1]["state_dict"][name], value), name
    for one, other in zip(*(state["optimizer_states"] for state in states), strict=True):
        for index, moments in one["state"].items():
            assert all(torch.equal(other["state"][index][name], value) for name, value in moments.items())
    for name in ("metrics.jsonl", "checkpoint/model.safetensors", "checkpoint/tables.safetensors"):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def saved_step(folder: Path) -> int:
    return int(torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]["step"])


@pytest.mark.parametrize("number", ENDS)
@pytest.mark.parametrize("step", [1, 2, 4])
def test_a_run_stops_after_its_step_and_goes_on_as_if_it_had_not(
    number: int,
    step: int,
    tiny: Recipes,
    send: Callable[..., None],
    whole: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In the midst of an epoch, and at the end of one, before its validation."""
    send(number, step=step)
    with pytest.raises(ENDS[signal.Signals(number)]) as end:
        run(tiny(), tmp_path / "parts")
    assert getattr(end.value, "code", 143) == 143
    line = f"stopped at step {step + 1} of 7; the same command goes on from step {step + 1}\n"
    assert capsys.readouterr().out.endswith(line)
    assert saved_step(tmp_path / "parts") == step + 1
    assert not (tmp_path / "parts" / "checkpoint").exists()
    run(tiny(), tmp_path / "parts")
    assert_equal_runs(whole, tmp_path / "parts")


def test_a_step_with_several_batches_is_finished(
    tiny: Recipes, send: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tiny(), tmp_path / "whole", accumulate=2)
    send(signal.SIGTERM, step=4)  # at its first batch
    with pytest.raises(SystemExit):
        run(tiny(), tmp_path / "parts", accumulate=2)
    assert capsys.readouterr().out.endswith("stopped at step 5 of 7; the same command goes on from step 5\n")
    run(tiny(), tmp_path / "parts", accumulate=2)
    assert_equal_runs(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("step", [3, 7])
def test_a_run_that_is_stopped_while_it_validates_validates_again(
    step: int, tiny: Recipes, send: Callable[..., None], whole: Path, tmp_path: Path
) -> None:
    send(signal.SIGTERM, method="validation_step", step=step)
    with pytest.raises(SystemExit):
        run(tiny(), tmp_path / "parts")
    assert saved_step(tmp_path / "parts") == step
    run(tiny(), tmp_path / "parts")
    assert_equal_runs(whole, tmp_path / "parts")


def test_a_second_signal_stops_at_once(
    tiny: Recipes, send: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    send(signal.SIGINT, signal.SIGINT, step=5)
    with pytest.raises(KeyboardInterrupt):
        run(tiny(), tmp_path)
    assert capsys.readouterr().out.endswith("stopped at step 5 of 7; the same command goes on from step 3\n")
    assert saved_step(tmp_path) == 3
    assert not list(tmp_path.glob(".narrows*"))


def test_a_signal_while_the_state_is_written_lets_it_be_written(
    tiny: Recipes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, numbers = torch.save, [signal.SIGTERM]

    def saved(state: Any, file: Any) -> None:
        if numbers:
            os.kill(os.getpid(), numbers.pop())
        save(state, file)

    monkeypatch.setattr(loop.torch, "save", saved)
    with pytest.raises(SystemExit):
        run(tiny(), tmp_path)
    assert saved_step(tmp_path) == 4
    assert not list(tmp_path.glob(".narrows*"))


def test_a_signal_while_the_checkpoint_is_written_stops_at_once(
    tiny: Recipes, send: Callable[..., None], whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    send(signal.SIGINT, method="fit_tables", step=7)
    with pytest.raises(KeyboardInterrupt):
        run(tiny(), tmp_path / "parts")
    assert capsys.readouterr().out.endswith("stopped at step 7 of 7; the same command writes the checkpoint\n")
    run(tiny(), tmp_path / "parts")
    assert_equal_runs(whole, tmp_path / "parts")


def test_a_signal_before_the_training_stops_at_once(tiny: Recipes, send: Callable[..., None], tmp_path: Path) -> None:
    send(signal.SIGTERM, method="initialize", step=0)
    with pytest.raises(SystemExit) as end:
        run(tiny(), tmp_path)
    assert end.value.code == 143
    assert [path.name for path in tmp_path.iterdir()] == ["run.lock"]


def test_what_a_killed_process_leaves_of_a_file_is_removed(tiny: Recipes, tmp_path: Path) -> None:
    (tmp_path / ".narrows-0123.part").touch()
    run(tiny(), tmp_path)
    assert not list(tmp_path.glob(".narrows*"))


@pytest.mark.slow
@pytest.mark.parametrize("group", [False, True], ids=["first process", "all processes"])
def test_all_ranks_and_loading_processes_stop_after_the_same_step(group: bool, vowels: Path, tmp_path: Path) -> None:
    (tmp_path / "codec").write_text("from narrows.cli import main\n\nmain()\n")
    settings = ["--data.train", vowels, "--data.valid", vowels, "--data.batch_size", "2", "--data.seconds", "0.1"]
    settings += ["--schedule.steps", "100000", "--schedule.validate_every", "5", "--data.workers", "1"]
    arguments = ["train", "speech", "--devices", "2", "-o", tmp_path / "run", *settings]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(tmp_path / "codec"), *map(str, arguments)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as process:
        try:
            while not (tmp_path / "run" / "last.ckpt").exists():
                assert process.poll() is None
                time.sleep(0.1)
            (os.killpg if group else os.kill)(process.pid, signal.SIGTERM)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 143, err
    found = re.search(r"stopped at step (\d+) of 100000; the same command goes on from step \1\n$", out)
    assert found
    assert saved_step(tmp_path / "run") == int(found[1])
    assert "Error" not in err
