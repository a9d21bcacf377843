"""Runs a recipe: Lightning handles the training loop, devices and precision.

With several devices, each has a process, a rank. Lightning starts the program once more for each further device.

out/recipe.json     settings of the run, by which a resumed run is checked (see record.py)
out/last.ckpt       state of the run with optimizers, from which the same command resumes
out/metrics.jsonl   losses and validation metrics by step
out/checkpoint/     the codec with EMA weights, for `narrows.load`
out/run.lock        held by a running training, so that a second one does not write to the same files
out/tensorboard/, out/wandb/    files of these loggers
out/smoke-data/     synthetic data of a smoke run
"""

import json
import logging
import os
import shutil
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from subprocess import Popen
from threading import Thread
from typing import Any
from uuid import uuid4

import lightning
import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor

from narrows.checkpoints.load import load
from narrows.codecs import distributed as ranks
from narrows.errors import InputError, PartError
from narrows.parts import spec
from narrows.recipes.training.base import Recipe, Training, first_difference
from narrows.recipes.training.loggers import check_logger, make_logger
from narrows.recipes.training.loop import METRICS, STATE, Loop, drop_metrics_after, load_state
from narrows.recipes.training.record import RECORD, as_text, changes_of, describe, read_record, write_record
from narrows.recipes.training.stopping import Stopping

CHECKPOINT = "checkpoint"  # folder of the trained codec in the folder of the run
SMOKE_DATA = "smoke-data"
PARTIAL = ".narrows-*.part"  # what a process that was killed leaves of a file that it wrote
WATCH_EVERY = 0.2  # seconds between two looks at the processes of other devices
LAUNCH_VARIABLES = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE")


def run(
    recipe: Recipe,
    out: str | Path,
    init: str | None = None,
    *,
    smoke: bool = False,
    devices: int = 1,
    change: bool = False,
    logger: str = "none",
    target: str | None = None,
) -> Path:
    """Train a recipe to its last step and write the checkpoint. An interrupted run in `out` is resumed.

    With several devices, call it once, at the top level of a program: the program is started for each device, and all
    of these processes return when the first one has written the checkpoint.

    Args:
        recipe: Recipe to train: a recipe of `narrows.recipes`, or one of your own.
        out: Folder of the run.
        init: Name or folder of a checkpoint whose weights a new run starts with; its codec must have the same parts.
        smoke: Run `recipe.smoke()` on synthetic data, which takes seconds. An earlier smoke run in `out` is replaced.
        devices: Number of GPUs, or of processes on a CPU. Each step has a batch of the recipe's size on each.
        change: Resume with settings that differ from those that the run was started with.
        logger: "tensorboard" or "wandb", whose package must be installed, or "none".
        target: What `codec train` was given, for recipe.json.

    Returns:
        The checkpoint folder.

    Raises:
        InputError: For weights of another architecture, for folders without media, for more devices than there are, for
            an `out` that another process is training in, or that holds a run with other settings (without `change`) or
            with more steps, and for gradients that are not finite in all steps, or in many without another between.
        PartError: For a codec that cannot be saved, since it holds a part that is not registered.
        KeyboardInterrupt, SystemExit: After Ctrl-C and SIGTERM, when the step is finished and the state saved.
    """
    _check_devices(devices)
    check_logger(logger)
    first = devices == 1 or ranks.is_launched_first()
    out = Path(out)
    with ExitStack() as stack:
        stopping = stack.enter_context(Stopping(first))
        if smoke:
            if first:
                stack.enter_context(_locked(out))
                _remove_smoke_run(out)
            recipe = recipe.smoke().on_synthetic_data(out / SMOKE_DATA)
        lightning.seed_everything(recipe.seed, verbose=False)
        torch.set_flush_denormal(True)  # denormal gradients are slow on a CPU
        training = recipe.training()
        _check_savable(training)
        if first and not smoke:  # only now: wrong settings leave no folder
            stack.enter_context(_locked(out))
        record = _new_record(training, target=target, devices=devices, init=init, smoke=smoke)
        earlier = read_record(out)
        changed = _check_record(out, earlier, record, change)
        position = load_state(training, out)
        step = int(training.step)
        if step > recipe.schedule.steps:
            raise InputError(
                f"expected at least the {step} steps that the run in {out} has done, got {recipe.schedule.steps}; give "
                "more --schedule.steps, or choose another --out"
            )
        if earlier is not None and not changed and step == earlier["finished"] == recipe.schedule.steps > 0:
            if first:
                print(f"finished at step {step}; give more --schedule.steps with --change to go on", flush=True)
            return out / CHECKPOINT
        if not (out / STATE).exists():
            # the other ranks get the weights of the first
            training.start(_initial_weights(training, init) if first else training.codec.state_dict())
        elif earlier is not None:
            record |= {"id": earlier["id"], "changes": earlier["changes"]}
            if earlier["narrows"] != record["narrows"]:
                changed["narrows"] = [earlier["narrows"], record["narrows"]]
        if changed:
            record["changes"] = [*record["changes"], {"step": step, "changed": changed}]
        if first:
            _remove_partial(out)
            write_record(out, record)
            drop_metrics_after(step, out)
        loop = Loop(training, out, stopping, make_logger(logger, out, record, step) if first else None, first, position)
        stopping.report = partial(_report_stop, loop, out)
        with _reported(stopping), closing(loop), _environment_kept():
            _train(training, loop, stopping, devices)
            if first:
                _report_skipped(training)
                training.write_checkpoint(out / CHECKPOINT)
                write_record(out, record | {"finished": int(training.step)})
            _leave(devices)
    return out / CHECKPOINT


def _check_devices(devices: int) -> None:
    available = torch.cuda.device_count() if torch.cuda.is_available() else None
    available = 1 if torch.backends.mps.is_available() else available
    if type(devices) is not int or devices < 1 or (available is not None and devices > available):
        limit = "at least 1 device" if available is None else f"1 to {available} devices"
        raise InputError(f"expected {limit}, got {devices!r}")


def _check_savable(training: Training) -> None:
    """Raise PartError before the training, not after it, if the checkpoint cannot be written."""
    if type(training).write_checkpoint is Training.write_checkpoint:
        try:
            spec(training.tokenizer(training.ema))  # not the codec: a tokenizer sets it to eval mode
        except PartError as error:
            raise PartError(f"the trained codec could not be saved: {error}") from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Create the folder and hold a lock in it, which ends with the process at the latest.

    Without the module fcntl, as on Windows, and on file systems without locks, nothing is checked.

    Raises InputError if another process holds the lock, or if the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "run.lock").open("a")
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


def _remove_smoke_run(out: Path) -> None:
    record = read_record(out)
    if record is None and not (out / STATE).exists() and not (out / CHECKPOINT).exists():
        return
    if record is None or not record["smoke"]:
        raise InputError(f"expected no run or a smoke run in {out}, got another run; choose another --out")
    for name in (STATE, METRICS, RECORD):
        (out / name).unlink(missing_ok=True)
    for name in (CHECKPOINT, SMOKE_DATA):
        shutil.rmtree(out / name, ignore_errors=True)


def _new_record(training: Training, **settings: Any) -> dict[str, Any]:
    record = {
        **settings,
        "narrows": version("narrows"),
        "id": uuid4().hex[:8],
        "precision": _precision(),
        "recipe": describe(training.recipe),
        "found": training.found_data(),
        "changes": [],
        "finished": None,
    }
    read: dict[str, Any] = json.loads(json.dumps(record))
    return read


def _check_record(
    out: Path, earlier: Mapping[str, Any] | None, record: Mapping[str, Any], change: bool
) -> dict[str, Any]:
    """Compare a record with the earlier one of the run in the folder, if there is one.

    Returns:
        Old and new values of what differs, by name.

    Raises:
        InputError: For differences, unless `change` allows them.
    """
    if earlier is not None and earlier["smoke"] != record["smoke"]:
        raise InputError(f"expected no smoke run in {out}, got one; choose another --out, or remove it")
    if not (out / STATE).exists():
        return {}
    if earlier is None:
        if not change:
            raise InputError(
                f"expected {RECORD} in {out}, got a run without it, whose settings cannot be compared; use another "
                "--out, or --change to go on with these settings"
            )
        return {RECORD: [None, "written"]}
    if earlier["init"] != record["init"]:
        raise InputError(
            f"expected init {earlier['init']!r}, which the run in {out} was started with, got {record['init']!r}; give "
            "the same, or choose another --out"
        )
    changes = changes_of(earlier, record)
    if changes and not change:
        raise InputError(
            f"expected the settings that the run in {out} was started with, got {as_text(changes)}; use another --out, "
            "or --change to go on with the new ones"
        )
    return {name: [old, new] for name, old, new in changes}


def _initial_weights(training: Training, init: str | None) -> dict[str, Tensor] | None:
    if init is None:
        return None
    weights: dict[str, Tensor] = load(init).codec.state_dict()
    if different := first_difference(training.codec.state_dict(), weights):
        raise InputError(
            f"expected a checkpoint of the recipe's architecture, got {init!r} with {different} of the recipe; "
            "choose another --init or recipe"
        )
    return weights


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


def _precision() -> str:
    return "bf16-mixed" if torch.cuda.is_available() else "32-true"


def _train(training: Training, loop: Loop, stopping: Stopping, devices: int) -> None:
    """Do the steps and validations that remain; end the process if a signal has stopped them."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")  # advice on workers and loggers
        trainer = lightning.Trainer(
            max_epochs=-1,  # Training.on_train_epoch_end stops the run after its last step
            logger=False,
            callbacks=[loop],
            num_sanity_val_steps=0,
            reload_dataloaders_every_n_epochs=1,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            use_distributed_sampler=False,  # each rank has crops of its own
            devices=devices,
            strategy=_Ranks() if devices > 1 else "auto",
            precision=_precision(),  # type: ignore[arg-type]
        )
        launcher = trainer.strategy.launcher
        if launcher is not None:
            stopping.pass_on = launcher.kill
            Thread(target=_watch, args=(launcher, loop), daemon=True).start()
        try:
            if loop.validation_is_due():
                trainer.validate(training, verbose=False)
                if loop.is_done() and not stopping.agreed:
                    loop.save()
            if not loop.is_done() and not stopping.agreed:
                trainer.fit(training)
        except SystemExit:  # Lightning's own exits on signals
            stopping.install()
            if not stopping.agreed:
                stopping.end()
    stopping.training = False
    if stopping.agreed:
        _leave(devices)
    if stopping.agreed or stopping.received is not None:
        stopping.end()


def _watch(launcher: Any, loop: Loop) -> None:
    """End this process as soon as one that it has started for another device fails.

    Without it, this process would wait for the other one, until Lightning kills it after some seconds (exit code 137).
    A process that ends with code 2 has said what is wrong.
    """
    while not loop.closed.wait(WATCH_EVERY):
        processes: list[Popen[bytes]] = launcher.procs  # another list once they are started
        for device, process in enumerate(processes, 1):
            code = process.poll()
            if not code:
                continue
            for other in processes:
                other.kill()
            _remove_partial(loop.out)
            if code != 2:
                print(f"codec: the process of device {device} failed with exit code {code}", file=sys.stderr)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code if code > 0 else 128 - code)


def _leave(devices: int) -> None:
    if devices > 1:
        try:
            ranks.leave()
        except RuntimeError:  # the first rank has ended
            raise SystemExit(1) from None


def _report_skipped(training: Training) -> None:
    """Print how many steps were skipped, if any were. Raises InputError if all were."""
    training.check_skipped()
    if training.skipped:
        print(
            f"skipped {training.skipped} of {int(training.step)} steps, the last of them step {training.last_skipped}: "
            "their gradients were not finite",
            flush=True,
        )


@contextmanager
def _reported(stopping: Stopping) -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        stopping.report()
        raise


def _report_stop(loop: Loop, out: Path) -> None:
    """Print where the run goes on after Ctrl-C and SIGTERM."""
    if loop.first:
        _remove_partial(out)
        then = "writes the checkpoint" if loop.saved == loop.steps else f"goes on from step {loop.saved}"
        print(f"stopped at step {loop.step} of {loop.steps}; the same command {then}", flush=True)


def _remove_partial(out: Path) -> None:
    for path in (*out.glob(PARTIAL), *(out / CHECKPOINT).glob(PARTIAL)):
        path.unlink(missing_ok=True)
