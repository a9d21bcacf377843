"""Shards in processes of this machine, one thread of a processor or one GPU each."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache, partial
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from narrows.datasets.base import Shard
from narrows.datasets.engines.schedule import Lost, Report, schedule
from narrows.errors import NarrowsError

if TYPE_CHECKING:
    from narrows.datasets.work import Done, Job

PATIENCE = 10  # seconds in which a process may end by itself


class Processes:
    """`workers` processes; where the device is cuda, they take turns at the GPUs.

    What they have in common is imported once, where the system can fork, and from the making of this engine on.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._context = _context()

    def share(self, shards: Sequence[Shard]) -> Sequence[Shard]:
        return shards

    def run(self, shards: Sequence[Shard], job: "Job", report: Report) -> None:
        schedule(shards, self.workers, partial(_Process, self._context, job), _ready, report, job.noted)


class _Process:
    """A process at the other end of a pipe, which closes however the process ends."""

    def __init__(self, context: Any, job: "Job", number: int) -> None:
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, _placed(job, number)), daemon=True)
        self._process.start()
        theirs.close()

    def begin(self, shard: Shard) -> None:
        with suppress(OSError):  # killed while it had nothing to do: the pipe tells it once more
            self.connection.send(shard)

    def result(self) -> "Done":
        try:
            found: Done | NarrowsError = self.connection.recv()
        except (EOFError, OSError):
            self._process.join(PATIENCE)
            if self._process.exitcode == 1:  # an error at its start
                raise NarrowsError(
                    "a worker could not start, for the reason above; a script must call tokenize under "
                    'if __name__ == "__main__":'
                ) from None
            raise Lost from None
        if isinstance(found, NarrowsError):
            raise found
        return found

    def end(self) -> None:
        self._process.terminate()
        self._process.join(PATIENCE)
        self._process.kill()
        self._process.join()
        self.connection.close()


def _ready(hands: Mapping[int, _Process]) -> list[int]:
    ready = wait([hand.connection for hand in hands.values()])
    return [number for number, hand in hands.items() if hand.connection in ready]


def _context() -> Any:
    """Processes that are forked from one without threads, so never copies of this one."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["narrows.datasets.work"])
    with _apart():
        forkserver.ensure_running()
    return context


@contextmanager
def _apart() -> Iterator[None]:
    """What is started within ignores Ctrl-C from its first moment on, and imports nothing from the current folder."""
    safe, ours = os.environ.get("PYTHONSAFEPATH"), threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if ours else None
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGINT, before)
        if safe is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = safe


def _placed(job: "Job", number: int) -> "Job":
    if job.device != "cuda":
        return job
    import torch

    return replace(job, device=f"cuda:{number % max(1, torch.cuda.device_count())}")


def _serve(connection: "Connection[Done | NarrowsError, Shard]", job: "Job") -> None:
    """Does shards until the pipe closes. Ctrl-C is for the parent; its SIGTERM removes what is half-written."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.unraisablehook = _end_all_the_same
    threading.Thread(target=_leave_with_parent, daemon=True).start()

    from narrows.datasets.work import Worker, attempt

    worker = cache(partial(Worker, job))
    with suppress(EOFError, OSError):
        while True:
            shard = connection.recv()
            try:
                connection.send(attempt(worker, shard))
            except NarrowsError as error:
                connection.send(error)


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _end_all_the_same(told: "sys.UnraisableHookArgs") -> None:
    """Where SIGTERM came while an object was taken down, which swallows the end, it comes again."""
    if isinstance(told.exc_value, SystemExit):
        os.kill(os.getpid(), signal.SIGTERM)
    else:
        sys.__unraisablehook__(told)
