"""What a run does beside the training steps: metrics, progress, the saved state, the end after a signal or the time.

The state is saved after each validation and when the run is stopped. It holds no counters of Lightning: the step, which
is a buffer of the training, decides on data, noise and validations.
"""

import json
import pickle
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from threading import Event
from typing import Any, BinaryIO

import lightning
import torch
from lightning.pytorch.callbacks import Callback

from narrows.errors import InputError
from narrows.media.atomic import atomic_write, write_error
from narrows.media.files import quoted
from narrows.recipes.training.base import Training
from narrows.recipes.training.clock import VALIDATED, Clock
from narrows.recipes.training.loggers import Logger
from narrows.recipes.training.progress import Progress
from narrows.recipes.training.report import write_report
from narrows.recipes.training.run_folder import BEST, METRICS, STATE, optional
from narrows.recipes.training.samples import write_samples
from narrows.recipes.training.stopping import Stopping

LOG_EVERY = 50  # steps
Position = dict[str, Any]  # what the state has for the Loop
START: Position = {
    "validated": -1,  # the last step that was validated
    "losses": {},  # of the last step
}
ADDED: Position = {  # what states of earlier versions lack
    "seconds": 0.0,  # spent
    "over": False,  # whether the time of the run is over
    "best": None,  # step, metric and value of the best validation
}


class Loop(Callback):
    """Accompanies a training.

    Args:
        training: The training, with its weights set.
        out: Folder of the run.
        stopping: Handlers of signals.
        logger: Takes the metrics too.
        first: Whether this is the first rank, which alone writes.
        position: What `load_state` has returned.
        clock: The time of the run.

    Attributes:
        out: Folder of the run.
        steps: Steps of the whole run.
        saved: Step of the saved state.
        position: What the state has for the Loop.
        closed: Set by `close`.
    """

    def __init__(
        self,
        training: Training,
        out: Path,
        stopping: Stopping,
        logger: Logger | None,
        first: bool,
        position: Position,
        clock: Clock,
    ) -> None:
        self._training, self.out, self._stopping, self._logger = training, out, stopping, logger
        self.first, self.position, self._clock = first, position, clock
        self.steps, self.saved = training.schedule.steps, self.step
        self.closed = Event()
        self._progress: Progress | None = None
        self._validation_start = 0.0

    @property
    def step(self) -> int:
        """The number of steps done."""
        return int(self._training.step)

    def validation_is_due(self) -> bool:
        """Whether the run was stopped after its last step before a validation."""
        validates = type(self._training).validation_step is not lightning.LightningModule.validation_step
        at_end = self.step % self._training.schedule.validate_every == 0 or self.is_done()
        return validates and at_end and self.position["validated"] != self.step > 0

    def is_done(self) -> bool:
        """Whether all steps are done, or their time is over."""
        return self.step >= self.steps or self.position["over"]

    def validate_if_due(self, trainer: lightning.Trainer) -> None:
        """Do a validation that is missing at this step."""
        if self.validation_is_due() and not self._stopping.agreed:
            trainer.validate(self._training, verbose=False)
            if self.is_done() and not self._stopping.agreed:
                self.save()

    def save(self) -> None:
        """Save the state of the run."""
        if self.first:
            if losses := _losses(self._training.trainer.callback_metrics):
                self.position["losses"] = {name: float(value) for name, value in losses.items()}
            self.position["seconds"] = self._clock.spent
            state = self._training.run_state() | self.position
            with atomic_write(self.out / STATE, overwrite=True) as file:
                _save(state, file)
        self.saved = self.step

    def close(self) -> None:
        """End the display and the logger."""
        self.closed.set()
        if self._progress is not None:
            self._progress.close()
        if self._logger is not None:
            with optional("logger"):
                self._logger.close()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._stopping.wait()
        clock = self._clock
        limit = {"limit": lambda: clock.left} if clock.limited else {}
        self._progress = Progress(self.steps, self.step, shown=self.first, **limit)

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any) -> None:
        if self._training.batch:  # in the midst of a step
            return
        step, metrics = self.step, trainer.callback_metrics
        assert self._progress is not None
        self._progress.step(step, lambda: float(metrics["loss"]) if "loss" in metrics else None)
        self._clock.tick(pl_module.device)
        self.position["over"] = self._clock.over
        if step % LOG_EVERY == 0 and not self.validation_is_due():  # its line has the losses too
            self._write(_losses(metrics))
        if self._stopping.agree(pl_module.device) or self._clock.over:
            raise StopIteration  # ends the epoch, without validation

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert self._progress is not None
        self._progress.resume()

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._stopping.wait()
        self._validation_start = self._clock.spent

    def on_validation_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        late = batch_idx > 0 and self._clock.passed(VALIDATED)
        if self._stopping.received is not None or late:
            raise StopIteration  # ends this rank's part of the validation

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self._stopping.agree(pl_module.device):
            return
        self.position["validated"] = self.step
        found = self._write(self.position["losses"] | trainer.callback_metrics)
        if self.first:
            shown = (f"{name.removeprefix('valid/')} {value}" for name, value in found.items() if "/" in name)
            print(f"validation at step {self.step}: {', '.join(shown)}", flush=True)
            with optional("best"):
                self._keep_best({name: value for name, value in found.items() if value is not None})
            self._show_samples()
            self.report()
        self._clock.validation = self._clock.spent - self._validation_start

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.save()
        if self._stopping.agreed or self._clock.over:
            trainer.should_stop = True

    def report(self) -> None:
        """Write the report of the run."""
        with optional("report"):
            write_report(self.out, self.position["best"])

    def _keep_best(self, found: Mapping[str, float]) -> None:
        """Write the weights to out/best if this validation is the best one, and was not cut short."""
        wanted, best = self._training.recipe.best, self.position["best"]
        if best is not None and best["metric"] in wanted:
            name = best["metric"]
        else:
            best, name = None, next((name for name in wanted if f"valid/{name}" in found), None)
        value = found.get(f"valid/{name}")
        if name is None or value is None:
            return
        sign = 1 if wanted[name] == "higher" else -1
        if best is None or (sign * value > sign * best["value"] and not self._clock.passed(VALIDATED)):
            self._training.write_codec(self.out / BEST)
            self.position["best"] = {"step": self.step, "metric": name, "value": value}

    def _show_samples(self) -> None:
        samples = self._training.samples
        if samples:
            with optional("samples"):
                write_samples(self.out, samples, self.step)
        if samples and self._logger is not None:
            with optional("samples in the logger"):
                self._logger.log_samples(samples, self.step)

    def _write(self, values: Mapping[str, Any]) -> dict[str, float | None]:
        finite = {name: float(value) for name, value in values.items() if isfinite(value)}
        rounded = {name: round(finite[name], 4) if name in finite else None for name in values}  # JSON has no NaN
        if self.first:
            path = self.out / METRICS
            try:
                with path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"step": self.step, **rounded}) + "\n")
            except OSError as error:
                raise write_error(quoted(path), error) from error
            if self._logger is not None:
                with optional("logger"):
                    self._logger.log(finite, self.step)
        return rounded


class _Watched:
    """A file that remembers why it could not be written: torch.save raises another error."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write as the file does."""
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        """Flush the file, unless writing has failed already."""
        if self.error is None:
            self._file.flush()


def _save(state: dict[str, Any], file: BinaryIO) -> None:
    watched = _Watched(file)
    try:
        torch.save(state, watched)  # type: ignore[arg-type]
    except RuntimeError:
        if watched.error is not None:
            raise watched.error from None
        raise


def load_state(training: Training, out: Path) -> Position:
    """Load the saved state of a run, if there is one.

    Returns:
        What a `Loop` needs of it.

    Raises:
        InputError: For the state of another recipe, or a damaged file.
    """
    path = out / STATE
    if not path.exists():
        return START | ADDED
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        position = {name: state[name] for name in START}
        position |= {name: state.get(name, default) for name, default in ADDED.items()}
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
