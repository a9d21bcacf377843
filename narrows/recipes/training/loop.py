"""What a run does beside the training steps: metrics, progress, the saved state, the end after a signal.

The state is saved after each validation and when the run is stopped. It holds no counters of Lightning: the step, which
is a buffer of the training, decides on data, noise and validations.
"""

import json
import pickle
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from threading import Event
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback

from narrows.errors import InputError
from narrows.media.atomic import atomic_write
from narrows.recipes.training.base import Training
from narrows.recipes.training.loggers import Logger
from narrows.recipes.training.progress import Progress
from narrows.recipes.training.stopping import Stopping

LOG_EVERY = 50  # steps
METRICS = "metrics.jsonl"
STATE = "last.ckpt"
Position = dict[str, Any]  # what the state has for the Loop
START: Position = {"validated": -1, "losses": {}}  # the last step that was validated, and losses of the last step


class Loop(Callback):
    """Accompanies a training.

    Args:
        training: The training, with its weights set.
        out: Folder of the run.
        stopping: Handlers of signals.
        logger: Takes the metrics too.
        first: Whether this is the first rank, which alone writes.
        position: What `load_state` has returned.

    Attributes:
        out: Folder of the run.
        steps: Steps of the whole run.
        saved: Step of the saved state.
        closed: Set by `close`.
    """

    def __init__(
        self, training: Training, out: Path, stopping: Stopping, logger: Logger | None, first: bool, position: Position
    ) -> None:
        self._training, self.out, self._stopping, self._logger = training, out, stopping, logger
        self.first, self._position = first, position
        self.steps, self.saved = training.schedule.steps, self.step
        self.closed = Event()
        self._progress: Progress | None = None

    @property
    def step(self) -> int:
        """The number of steps done."""
        return int(self._training.step)

    def validation_is_due(self) -> bool:
        """Whether the run was stopped after its last step before a validation."""
        validates = type(self._training).validation_step is not lightning.LightningModule.validation_step
        at_end = self.step % self._training.schedule.validate_every == 0 or self.is_done()
        return validates and at_end and self._position["validated"] != self.step > 0

    def is_done(self) -> bool:
        """Whether all steps are done."""
        return self.step >= self.steps

    def save(self) -> None:
        """Save the state of the run."""
        if self.first:
            if losses := _losses(self._training.trainer.callback_metrics):
                self._position["losses"] = {name: float(value) for name, value in losses.items()}
            state = self._training.run_state() | self._position
            with atomic_write(self.out / STATE, overwrite=True) as file:
                torch.save(state, file)
        self.saved = self.step

    def close(self) -> None:
        """End the display and the logger."""
        self.closed.set()
        if self._progress is not None:
            self._progress.close()
        if self._logger is not None:
            self._logger.close()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._stopping.wait()
        self._progress = Progress(self.steps, self.step, shown=self.first)

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any) -> None:
        step, metrics = self.step, trainer.callback_metrics
        assert self._progress is not None
        self._progress.step(step, lambda: float(metrics["loss"]) if "loss" in metrics else None)
        if step % LOG_EVERY == 0 and not self.validation_is_due():  # its line has the losses too
            self._write(_losses(metrics))
        if self._stopping.agree(pl_module.device):
            raise StopIteration  # ends the epoch, without validation

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert self._progress is not None
        self._progress.resume()

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._stopping.wait()

    def on_validation_batch_start(self, *_: Any) -> None:
        if self._stopping.received is not None:
            raise StopIteration  # ends this rank's part of the validation

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if not self._stopping.agree(pl_module.device):
            self._position["validated"] = self.step
            found = self._write(self._position["losses"] | trainer.callback_metrics)
            shown = (f"{name.removeprefix('valid/')} {value}" for name, value in found.items() if "/" in name)
            if self.first:
                print(f"validation at step {self.step}: {', '.join(shown)}", flush=True)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.save()
        if self._stopping.agreed:
            trainer.should_stop = True

    def _write(self, values: Mapping[str, Any]) -> dict[str, float | None]:
        finite = {name: float(value) for name, value in values.items() if isfinite(value)}
        rounded = {name: round(finite[name], 4) if name in finite else None for name in values}  # JSON has no NaN
        if self.first:
            with (self.out / METRICS).open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": self.step, **rounded}) + "\n")
            if self._logger is not None:
                self._logger.log(finite, self.step)
        return rounded


def load_state(training: Training, out: Path) -> Position:
    """Load the saved state of a run, if there is one.

    Returns:
        What a `Loop` needs of it.

    Raises:
        InputError: For the state of another recipe, or a damaged file.
    """
    path = out / STATE
    if not path.exists():
        return dict(START)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        position = {name: state[name] for name in START}
        training.load_run_state(state)
        return position
    except InputError as error:
        raise InputError(
            f"cannot resume the run in {out}: {error}; use the recipe and settings that it was started with, or choose "
            "another --out"
        ) from error
    except (
        OSError,
        RuntimeError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        EOFError,
        pickle.UnpicklingError,
    ) as error:
        raise InputError(
            f"expected the state of a run in {path}, got a file that is damaged or cannot be read; "
            "choose another --out, or remove this file to begin again"
        ) from error


def _losses(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metrics.items() if "/" not in name}


def drop_metrics_after(step: int, out: Path) -> None:
    """Remove the lines of steps that a resumed run does again, and a line that was not completed."""
    path = out / METRICS
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (ValueError, TypeError, LookupError):  # the process was killed while it wrote the line
            continue
    with atomic_write(path, overwrite=True) as file:
        file.write("".join(kept).encode())
