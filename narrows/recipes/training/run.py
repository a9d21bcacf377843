"""Runs a recipe: Lightning handles the training loop, devices, precision, saving and resuming.

With several devices, each has a process, a rank. Lightning starts the program once more for each further device.

out/last.ckpt       state of the run with optimizers, from which the same command resumes
out/metrics.jsonl   losses and validation metrics by step
out/checkpoint/     the codec with EMA weights, for `narrows.load`
out/run.lock        held by a running training, so that a second one does not write to the same files
"""

import json
import logging
import os
import pickle
import shutil
import signal
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from math import isfinite
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, RichProgressBar
from lightning.pytorch.strategies import DDPStrategy

from narrows.checkpoints.load import load
from narrows.codecs import distributed as ranks
from narrows.errors import InputError
from narrows.media.atomic import atomic_write
from narrows.recipes.training.base import CHECKPOINT, Recipe, Training

LOG_EVERY = 50  # steps
METRICS = "metrics.jsonl"
LAUNCH_VARIABLES = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE")


def run(recipe: Recipe, out: str | Path, init: str | None = None, smoke: bool = False, devices: int = 1) -> Path:
    """Train a recipe to its last step and write the checkpoint. An interrupted run in `out` is resumed.

    With several devices, call it once, at the top level of a program: the program is started for each device, and all
    of these processes return when the first one has written the checkpoint.

    Args:
        recipe: Recipe to train: a recipe of `narrows.recipes` or your own subclass of `Recipe`.
        out: Folder of the run.
        init: Name or folder of a checkpoint whose weights a new run starts with; its codec must have the same parts.
        smoke: Run `recipe.smoke()` on synthetic data in the new folder out/smoke, which takes seconds.
        devices: Number of GPUs, or of processes on a CPU. Each step has a batch of the recipe's size on each.

    Returns:
        The checkpoint folder.

    Raises:
        InputError: For weights of another architecture, for folders without media, for more devices than there are, and
            for an `out` that holds the run of another recipe, or any run if `init` is given, or that another process
            is training in.
    """
    _check_devices(devices)
    first = devices == 1 or ranks.is_launched_first()
    with ExitStack() as locks:
        return _run(recipe, Path(out), init, smoke, devices, first, locks)


def _run(recipe: Recipe, out: Path, init: str | None, smoke: bool, devices: int, first: bool, locks: ExitStack) -> Path:
    if smoke:
        if first:
            locks.enter_context(_locked(out, "smoke.lock"))
        out = out / "smoke"
        if first:
            shutil.rmtree(out, ignore_errors=True)
        recipe = recipe.smoke().on_synthetic_data(out / "data")
    saved = out / "last.ckpt"
    if saved.exists() and init is not None:
        raise InputError(f"expected no run in {out} together with init={init!r}, got {saved}; choose another --out")
    lightning.seed_everything(recipe.seed, verbose=False)
    torch.set_flush_denormal(True)  # denormal gradients are slow on a CPU
    training = recipe.training()
    if first and not smoke:  # only now: wrong settings leave no folder
        locks.enter_context(_locked(out, "run.lock"))
    out.mkdir(parents=True, exist_ok=True)
    if saved.exists():
        _resume(training, saved)
        if first:
            _drop_metrics_after(int(training.step), out / METRICS)
    elif first:  # the other ranks get the weights of the first
        _start(training, init)
    with _environment_kept():
        if int(training.step) < recipe.schedule.steps:
            _fit(training, out, saved if saved.exists() else None, devices)
        if first:
            training.write_checkpoint(out)
        if devices > 1:
            try:
                ranks.leave()
            except RuntimeError:  # the first rank has failed, and has said why
                raise SystemExit(1) from None
    return out / CHECKPOINT


@contextmanager
def _locked(folder: Path, name: str) -> Iterator[None]:
    """Create the folder and hold a lock in it, which ends with the process at the latest.

    Without the module fcntl, as on Windows, and on file systems without locks, nothing is checked.

    Raises InputError if another process holds the lock, or if the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / name).open("a")
    except OSError as error:
        raise InputError(
            f"expected a folder that can be written, got {folder} ({error.strerror}); choose another --out"
        ) from error
    with file:
        try:
            import fcntl

            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike flock, not held by processes that load data
        except (BlockingIOError, PermissionError):
            raise InputError(
                f"expected no running training in {folder}, got one; wait for its end or choose another --out"
            ) from None
        except (ImportError, OSError):
            pass
        yield


def _check_devices(devices: int) -> None:
    available = torch.cuda.device_count() if torch.cuda.is_available() else None
    available = 1 if torch.backends.mps.is_available() else available
    if type(devices) is not int or devices < 1 or (available is not None and devices > available):
        limit = "at least 1 device" if available is None else f"1 to {available} devices"
        raise InputError(f"expected {limit}, got {devices!r}")


@contextmanager
def _environment_kept() -> Iterator[None]:
    """Remove variables that Lightning sets for its other processes, so that a later run starts its own."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in set(LAUNCH_VARIABLES) - before.keys():
            os.environ.pop(name, None)


class _Ranks(DDPStrategy):
    """Processes that share weights, gradients and statistics by `narrows.codecs.distributed` alone.

    DDP's own wrapper expects one backward pass per step with gradients for all parameters. Here a step has one for each
    optimizer, and each phase of the training its own parameters.
    """

    def configure_ddp(self) -> None:
        """Give all ranks the weights of the first."""
        assert isinstance(self.model, Training)
        ranks.broadcast(self.model)


class _MetricsLog(Callback):
    """Appends losses and validation metrics to a file of JSON lines; prints the metrics of each validation."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any) -> None:
        if trainer.is_global_zero and int(pl_module.step) % LOG_EVERY == 0:  # type: ignore[arg-type]
            self._write(pl_module, {name: value for name, value in trainer.callback_metrics.items() if "/" not in name})

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if trainer.is_global_zero:
            print(self._write(pl_module, trainer.callback_metrics), flush=True)

    def _write(self, training: lightning.LightningModule, values: dict[str, Any]) -> str:
        finite = {name: float(value) if isfinite(value) else None for name, value in values.items()}  # JSON has no NaN
        rounded = {name: value if value is None else round(value, 4) for name, value in finite.items()}
        line = json.dumps({"step": int(training.step), **rounded})  # type: ignore[arg-type]
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        return line


def _fit(training: Training, out: Path, saved: Path | None, devices: int) -> None:
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    settings: dict[str, Any] = {"precision": "bf16-mixed"} if torch.cuda.is_available() else {}
    saver = ModelCheckpoint(
        out, filename="last", save_top_k=1, enable_version_counter=False, save_on_train_epoch_end=True
    )
    interrupt = signal.getsignal(signal.SIGINT)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")  # advice on workers and loggers
        trainer = lightning.Trainer(
            max_epochs=-1,  # Training.on_train_epoch_end stops the run after its last step
            default_root_dir=out,
            logger=False,
            callbacks=[saver, _MetricsLog(out / METRICS), RichProgressBar()],
            num_sanity_val_steps=0,
            reload_dataloaders_every_n_epochs=1,
            enable_model_summary=False,
            use_distributed_sampler=False,  # each rank has crops of its own
            devices=devices,
            strategy=_Ranks() if devices > 1 else "auto",
            **settings,
        )
        try:
            trainer.fit(training, ckpt_path=saved, weights_only=True)
        except SystemExit:  # Lightning's exit on Ctrl-C
            signal.signal(signal.SIGINT, interrupt)
            raise KeyboardInterrupt from None


def _resume(training: Training, path: Path) -> None:
    """Load weights and step of a saved run, and check its optimizers, which Lightning loads later."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        training.load_state_dict(state["state_dict"])
        optimizers = [optimizer.state_dict() for optimizer in training.made_optimizers()]
        expected, found = ([_group_sizes(one) for one in states] for states in (optimizers, state["optimizer_states"]))
        if expected != found:
            raise KeyError(f"its optimizers have groups of {found} parameters, not {expected}")
    except (OSError, RuntimeError, LookupError, TypeError, AttributeError, EOFError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"cannot resume the run in {path.parent} ({reason}); "
            "use the recipe and settings that it was started with, or choose another --out"
        ) from error


def _drop_metrics_after(step: int, path: Path) -> None:
    """Remove the lines of steps that a resumed run does again, and a line that was not completed."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except ValueError:  # the process was killed while it wrote the line
            continue
    with atomic_write(path, overwrite=True) as file:
        file.write("".join(kept).encode())


def _group_sizes(optimizer: Mapping[str, Any]) -> list[int]:
    return [len(group["params"]) for group in optimizer["param_groups"]]


def _start(training: Training, init: str | None) -> None:
    """Set the weights of a new run from the checkpoint `init`, or by the recipe's initialization."""
    if init is None:
        training.initialize()
    else:
        weights = load(init).codec.state_dict()
        expected = {name: value.shape for name, value in training.codec.state_dict().items()}
        found = {name: value.shape for name, value in weights.items()}
        if expected != found:
            names = sorted(name for name in expected | found if expected.get(name) != found.get(name))
            raise InputError(
                f"expected a checkpoint of the recipe's architecture, got {init!r} with another {names[0]!r}; "
                "choose another --init or recipe"
            )
        training.codec.load_state_dict(weights)
    training.ema.load_state_dict(training.codec.state_dict())
