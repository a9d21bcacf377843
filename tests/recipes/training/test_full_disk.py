"""A disk that is full in the middle of a run: it stops with one line, and the last state goes on."""

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from narrows.errors import MediaError
from narrows.recipes.training import loop
from narrows.recipes.training.audio import AudioRecipe
from narrows.recipes.training.run import run

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
Recipes = Callable[..., AudioRecipe]
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Full:
    """A file on a disk with room for some more bytes."""

    def __init__(self, file: Any, room: int) -> None:
        self._file, self._room = file, room

    def write(self, data: Any) -> int:
        """Write, if there is room."""
        self._room -= len(data)
        if self._room < 0:
            raise FULL
        return int(self._file.write(data))

    def flush(self) -> None:
        """Flush the file."""
        self._file.flush()


def stops(recipe: AudioRecipe, out: Path, name: str, step: int) -> None:
    """Check the message about a file, and that the state is that of a step."""
    with pytest.raises(MediaError) as stopped:
        run(recipe, out)
    message = str(stopped.value)
    assert re.fullmatch(
        rf"'.*{name}' could not be written to its end \(no space left on device\), so nothing was kept; free some "
        rf"space; then the same command goes on from step {step}",
        message,
    )
    assert int(torch.load(out / "last.ckpt", weights_only=True)["state_dict"]["step"]) == step
    assert not list(out.rglob(".narrows-*"))


@pytest.mark.parametrize("room", [0, 1000, 100_000])
def test_while_the_state_is_written(room: int, tiny: Recipes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save, count = loop._save, []

    def saved(state: Any, file: Any) -> None:
        count.append(0)
        save(state, Full(file, room) if len(count) == 2 else file)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "_save", saved)
    stops(tiny(), tmp_path, "last.ckpt", 3)
    run(tiny(), tmp_path)
    run(tiny(), tmp_path / "whole")
    for name in ("metrics.jsonl", "checkpoint/model.safetensors"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("name", ["write_samples", "write_report"])
def test_while_samples_and_report_are_written(
    name: str, tiny: Recipes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, count = getattr(loop, name), []

    def written(out: Path, *arguments: Any) -> None:
        original(out, *arguments)
        count.append(0)
        if len(count) == 2:
            with loop.atomic_write(out / "shown.html"):
                raise FULL

    monkeypatch.setattr(loop, name, written)
    stops(tiny(), tmp_path, "shown.html", 3)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_while_metrics_are_written(tiny: Recipes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save = loop._save

    def saved(state: Any, file: Any) -> None:
        save(state, file)
        (tmp_path / "metrics.jsonl").unlink()
        (tmp_path / "metrics.jsonl").symlink_to("/dev/full")

    monkeypatch.setattr(loop, "_save", saved)
    stops(tiny(), tmp_path, "metrics.jsonl", 3)
