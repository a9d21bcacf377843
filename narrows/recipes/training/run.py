"""Runs a recipe: Lightning handles the training loop, devices and precision.

With several devices, each has a process, a rank (see launch.py). The files of a run are listed in run_folder.py.
"""

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import lightning
import torch
from torch import Tensor

from narrows.checkpoints.load import load
from narrows.errors import InputError, MediaError, PartError, shortened
from narrows.media.atomic import write_bytes
from narrows.parts import spec
from narrows.recipes.training.base import Recipe, Training, first_difference
from narrows.recipes.training.clock import COMPLETED, FITTED, RESERVE, Clock, timed
from narrows.recipes.training.launch import Launch, environment_kept, lightning_quiet, watch
from narrows.recipes.training.loggers import check_logger, make_logger
from narrows.recipes.training.loop import Loop, drop_metrics_after, load_state
from narrows.recipes.training.record import describe, read_record, write_record
from narrows.recipes.training.run_folder import (
    BEST,
    CHECKPOINT,
    SMOKE_DATA,
    STATE,
    check_outside_data,
    check_record,
    is_full,
    locked,
    remove_partial,
    remove_smoke_run,
)
from narrows.recipes.training.samples import drop_samples_after
from narrows.recipes.training.stopping import Stopping


def run(
    recipe: Recipe,
    out: str | Path,
    init: str | None = None,
    *,
    smoke: bool = False,
    devices: int = 1,
    nodes: int = 1,
    precision: str = "auto",
    accumulate: int = 1,
    minutes: float | None = None,
    change: bool = False,
    logger: str = "none",
    target: str | None = None,
) -> Path:
    """Train a recipe to its last step and write the checkpoint. An interrupted run in `out` is resumed.

    With several devices, call it once, at the top level of a program: the program is started for each device, and all
    of these processes return when the first one has written the checkpoint.

    Args:
        recipe: Recipe to train: a recipe of `narrows.recipes`, or one of your own.
        out: Folder of the run; with several nodes one that they share.
        init: Name or folder of a checkpoint whose weights a new run starts with; its codec must have the same parts.
        smoke: Run `recipe.smoke()` on synthetic data, which takes seconds. An earlier smoke run in `out` is replaced.
        devices: Number of GPUs, or of processes on a CPU, of each node. Each batch has the recipe's size on each.
        nodes: Number of machines; the program is started on each (see docs/training.md).
        precision: "bf16", "fp32", or "auto": bf16 on a GPU that has it.
        accumulate: Batches of a step on each device, whose gradients are averaged.
        minutes: Time of the whole run, in which it delivers its checkpoint; the learning rate falls with the time. The
            run ends after `schedule.steps` if these are done before.
        change: Resume with settings that differ from those that the run was started with.
        logger: "tensorboard" or "wandb", whose package must be installed, or "none".
        target: What `codec train` was given, for recipe.json.

    Returns:
        The checkpoint folder.

    Raises:
        InputError: For weights of another architecture, for folders without media, for more devices than there are, for
            an `out` that another process is training in, or that holds a run with other settings (without `change`) or
            with more steps, and for losses or gradients that are not finite in all steps, or in many without another
            between.
        MediaError: For a disk that is full; the saved state stays as it is.
        PartError: For a codec that cannot be saved, since it holds a part that is not registered.
        KeyboardInterrupt, SystemExit: After Ctrl-C and SIGTERM, when the step is finished and the state saved.
    """
    clock = Clock(minutes)
    launch = Launch(devices, nodes, precision)
    if type(accumulate) is not int or accumulate < 1:
        raise InputError(f"expected at least 1 batch of a step to accumulate, got {shortened(accumulate)}")
    check_logger(logger)
    first = launch.first
    out = Path(out)
    with ExitStack() as stack:
        stopping = stack.enter_context(Stopping(first))
        if smoke:
            if first:
                stack.enter_context(locked(out))
                remove_smoke_run(out)
            recipe = recipe.smoke().on_synthetic_data(out / SMOKE_DATA)
        check_outside_data(out, getattr(recipe, "data", None))
        lightning.seed_everything(recipe.seed, verbose=False)
        torch.set_flush_denormal(True)  # denormal gradients are slow on a CPU
        training = recipe.training()
        training.accumulate, training.schedule = accumulate, timed(recipe.schedule, clock)
        _check_savable(training)
        if first and not smoke:  # only now: wrong settings leave no folder
            stack.enter_context(locked(out))
        settings: dict[str, Any] = {"target": target, "init": init, "smoke": smoke, "devices": devices, "nodes": nodes}
        settings |= {"precision": launch.lightning_precision, "accumulate": accumulate, "minutes": minutes}
        record = _new_record(training, settings)
        earlier = read_record(out)
        changed = check_record(out, earlier, record, change)
        position = load_state(training, out)
        clock.resume(position["seconds"])
        position["over"] = position["over"] and "minutes" not in changed
        step = int(training.step)
        if step > recipe.schedule.steps:
            raise InputError(
                f"expected at least the {step} steps that the run in {out} has done, got {recipe.schedule.steps}; give "
                "more --schedule.steps, or choose another --out"
            )
        done = step == recipe.schedule.steps or position["over"]
        if earlier is not None and not changed and done and step == earlier["finished"] != 0:
            if first:
                more = "--minutes" if position["over"] else "--schedule.steps"
                print(f"finished at step {step}; give more {more} with --change to go on", flush=True)
            return out / CHECKPOINT
        training.prepare(out)  # only now: a run with other settings, or a finished one, changes no files
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
            remove_partial(out)
            write_record(out, record)
            drop_metrics_after(step, out)
            drop_samples_after(step, out)
        made = make_logger(logger, out, record, step) if first else None
        loop = Loop(training, out, stopping, made, first, position, clock)
        stopping.report = partial(_report_stop, loop, out)
        with _reported(stopping), _disk_reported(loop), closing(loop), environment_kept():
            _train(training, loop, stopping, launch, {"step": step, **record, "id": None})
            if first:
                _report_skipped(training)
                _write_checkpoints(training, loop, clock)
                write_record(out, record | {"finished": int(training.step), "best": position["best"]})
                loop.report()
            launch.leave()
    return out / CHECKPOINT


def _check_savable(training: Training) -> None:
    """Raise PartError before the training, not after it, if the checkpoint cannot be written."""
    if type(training).write_checkpoint is Training.write_checkpoint:
        try:
            spec(training.tokenizer(training.ema))  # not the codec: a tokenizer sets it to eval mode
        except PartError as error:
            raise PartError(f"the trained codec could not be saved: {error}") from error


def _new_record(training: Training, settings: dict[str, Any]) -> dict[str, Any]:
    record = {
        **settings,
        "narrows": version("narrows"),
        "id": uuid4().hex[:8],
        "recipe": describe(training.recipe),
        "found": training.found_data(),
        "changes": [],
        "finished": None,
        "best": None,
    }
    read: dict[str, Any] = json.loads(json.dumps(record))
    return read


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


def _train(training: Training, loop: Loop, stopping: Stopping, launch: Launch, settings: dict[str, Any]) -> None:
    """Do the steps and validations that remain; end the process if a signal has stopped them."""
    with lightning_quiet():
        trainer = launch.trainer(loop, settings)
        launcher = trainer.strategy.launcher
        if launcher is not None:
            stopping.pass_on = launcher.kill
            Thread(target=watch, args=(launcher, loop, loop.out), daemon=True).start()
        try:
            loop.validate_if_due(trainer)
            if not loop.is_done() and not stopping.agreed:
                trainer.fit(training)
                loop.validate_if_due(trainer)  # if the time is over in the midst of an epoch
        except MediaError:  # the first rank cannot write, and the others would wait for it
            loop.closed.set()
            if launcher is not None:
                launcher.kill(getattr(signal, "SIGKILL", signal.SIGTERM))
            raise
        except SystemExit:  # Lightning's own exits on signals
            stopping.install()
            if not stopping.agreed:
                stopping.end()
    stopping.training = False
    if stopping.agreed:
        launch.leave()
    if stopping.agreed or stopping.received is not None:
        stopping.end()


def _write_checkpoints(training: Training, loop: Loop, clock: Clock) -> None:
    """Write checkpoint/, and complete best/ with tables; in time, if the run has a limit."""

    def deadline(fraction: float) -> float:
        return max(clock.at(fraction), clock.at(0) + clock.spent + RESERVE / 5 * clock.seconds)

    checkpoint, best = loop.out / CHECKPOINT, loop.out / BEST
    training.deadline = deadline(FITTED)
    training.write_checkpoint(checkpoint)
    if loop.position["best"] is None or not (best / "config.json").exists():
        return
    if loop.position["best"]["step"] == loop.step:
        for path in checkpoint.iterdir():
            write_bytes(best / path.name, path.read_bytes(), overwrite=True)
    else:
        training.deadline = deadline(COMPLETED)
        training.add_tables(best)


def _report_skipped(training: Training) -> None:
    """Print how many steps were skipped, if any were. Raises InputError if all were."""
    training.check_skipped()
    if training.skipped:
        print(
            f"skipped {training.skipped} of {int(training.step)} steps, the last of them step {training.last_skipped}: "
            "their losses or gradients were not finite",
            flush=True,
        )


@contextmanager
def _reported(stopping: Stopping) -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        stopping.report()
        raise


@contextmanager
def _disk_reported(loop: Loop) -> Iterator[None]:
    """Say in the error of a full disk where the run goes on."""
    try:
        yield
    except (MediaError, OSError) as error:
        if not is_full(error):
            raise
        remove_partial(loop.out)
        text = str(error) if isinstance(error, MediaError) else f"{error.filename or loop.out}: {error.strerror}"
        raise MediaError(f"{text}; then the same command goes on from step {loop.saved}") from error


def _report_stop(loop: Loop, out: Path) -> None:
    """Print where the run goes on after Ctrl-C and SIGTERM."""
    if loop.first:
        remove_partial(out)
        then = (
            "writes the checkpoint" if loop.saved == loop.step and loop.is_done() else f"goes on from step {loop.saved}"
        )
        print(f"stopped at step {loop.step} of {loop.steps}; the same command {then}", flush=True)
