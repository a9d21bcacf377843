"""The folder of a run: its files, its lock, and what an earlier run in it says.

out/recipe.json     settings of the run, by which a resumed run is checked (see record.py)
out/last.ckpt       state of the run with optimizers, from which the same command resumes
out/metrics.jsonl   losses and validation metrics by step
out/checkpoint/     the codec with EMA weights after the last step, for `narrows.load`
out/best/           the same after the best validation
out/samples/        validation items, original and decoded, of the last validations
out/report.html     curves, samples and settings
out/run.lock        held by a running training, so that a second one does not write to the same files
out/tensorboard/, out/wandb/    files of these loggers
out/latents/        latents of the media that train a Re-Bottleneck, made once
out/smoke-data/     synthetic data of a smoke run
"""

import errno
import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from narrows.errors import InputError
from narrows.recipes.training.record import RECORD, as_text, changes_of, read_record

METRICS = "metrics.jsonl"
STATE = "last.ckpt"
CHECKPOINT = "checkpoint"
BEST = "best"
SAMPLES = "samples"
REPORT = "report.html"
SMOKE_DATA = "smoke-data"
PARTIAL = ".narrows-*.part"  # what a process that was killed leaves of a file that it wrote
logger = logging.getLogger(__name__)


def check_outside_data(out: Path, data: object) -> None:
    """Raise InputError for a folder of a run in a folder of its data: its samples would be found as data."""
    for name, value in vars(data).items() if hasattr(data, "__dict__") else ():
        for path in value if isinstance(value, tuple) else (value,):
            if isinstance(path, Path) and out.resolve().is_relative_to(path.resolve()):
                raise InputError(f"expected an --out outside of data.{name}, got {out} in {path}; choose another --out")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
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


def remove_smoke_run(out: Path) -> None:
    """Remove the files of an earlier smoke run. Raises InputError if another run is there."""
    record = read_record(out)
    if record is None and not (out / STATE).exists() and not (out / CHECKPOINT).exists():
        return
    if record is None or not record["smoke"]:
        raise InputError(f"expected no run or a smoke run in {out}, got another run; choose another --out")
    for name in (STATE, METRICS, RECORD, REPORT):
        (out / name).unlink(missing_ok=True)
    for name in (CHECKPOINT, BEST, SAMPLES, SMOKE_DATA):
        shutil.rmtree(out / name, ignore_errors=True)


def remove_partial(out: Path) -> None:
    """Remove what a process that was killed has left of files."""
    for folder in (out, out / CHECKPOINT, out / BEST):
        for path in folder.glob(PARTIAL):
            path.unlink(missing_ok=True)


def check_record(
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


def is_full(error: BaseException | None) -> bool:
    """Whether an error comes from a full disk."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def optional(what: str) -> Iterator[None]:
    """Turn errors in what is only shown, such as samples and the report, into a warning, unless the disk is full."""
    try:
        yield
    except Exception as error:
        if is_full(error):
            raise
        logger.warning("%s: left out, %s", what, " ".join(f"{type(error).__name__}: {error}".split())[:200])
