"""Runs shards in processes on this machine; each process uses one CPU thread or one GPU."""

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
from narrows.datasets.engines.schedule import Report, WorkerKilled, schedule
from narrows.errors import NarrowsError

if TYPE_CHECKING:
    from narrows.datasets.worker import Job, ShardResult

STOP_TIMEOUT = 10  # seconds that a process gets to end by itself


class Processes:
    """Runs shards in `workers` processes; if the device is cuda, they are assigned to the GPUs in turn.

    On systems that can fork, modules are imported once for all processes; the import starts when this engine is made.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._context = _process_context()

    def select(self, shards: Sequence[Shard]) -> Sequence[Shard]:
        return shards

    def run(self, shards: Sequence[Shard], job: "Job", report: Report) -> None:
        start = partial(_ProcessHandle, self._context, job)
        schedule(shards, self.workers, start, _wait_for_results, report, job.current_item)


class _ProcessHandle:
    """A WorkerHandle for a process at the other end of a pipe. The pipe is closed however the process ends."""

    def __init__(self, context: Any, job: "Job", number: int) -> None:
        self.connection, other_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(other_end, _assign_gpu(job, number)), daemon=True)
        self._process.start()
        other_end.close()

    def submit(self, shard: Shard) -> None:
        with suppress(OSError):  # the process was killed while it was idle; `result` then finds the pipe closed
            self.connection.send(shard)

    def result(self) -> "ShardResult":
        try:
            found: ShardResult | NarrowsError = self.connection.recv()
        except (EOFError, OSError):
            self._process.join(STOP_TIMEOUT)
            if self._process.exitcode == 1:  # an error occurred while it started
                raise NarrowsError(
                    "a worker could not start, for the reason above; a script must call tokenize under "
                    'if __name__ == "__main__":'
                ) from None
            raise WorkerKilled from None
        if isinstance(found, NarrowsError):
            raise found
        return found

    def stop(self) -> None:
        self._process.terminate()
        self._process.join(STOP_TIMEOUT)
        self._process.kill()
        self._process.join()
        self.connection.close()


def _wait_for_results(handles: Mapping[int, _ProcessHandle]) -> list[int]:
    ready = wait([handle.connection for handle in handles.values()])
    return [number for number, handle in handles.items() if handle.connection in ready]


def _process_context() -> Any:
    """A context that forks processes from a server process without threads, never from this process."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["narrows.datasets.worker"])
    with _isolate_processes():
        forkserver.ensure_running()
    return context


@contextmanager
def _isolate_processes() -> Iterator[None]:
    """Processes that start in this context ignore Ctrl-C from the start and import nothing from the current folder."""
    safe_path = os.environ.get("PYTHONSAFEPATH")
    in_main_thread = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if in_main_thread else None
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if in_main_thread:
            signal.signal(signal.SIGINT, handler)
        if safe_path is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = safe_path


def _assign_gpu(job: "Job", number: int) -> "Job":
    if job.device != "cuda":
        return job
    import torch

    return replace(job, device=f"cuda:{number % max(1, torch.cuda.device_count())}")


def _serve(connection: "Connection[ShardResult | NarrowsError, Shard]", job: "Job") -> None:
    """Runs in the worker process: processes shards until the pipe is closed.

    Ctrl-C is left to the parent, whose SIGTERM raises SystemExit here, so that half-written files are removed.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.unraisablehook = _exit_again
    threading.Thread(target=_end_with_parent, daemon=True).start()

    from narrows.datasets.worker import Worker, run_shard

    worker = cache(partial(Worker, job))
    with suppress(EOFError, OSError):
        while True:
            shard = connection.recv()
            try:
                connection.send(run_shard(worker, shard))
            except NarrowsError as error:
                connection.send(error)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _exit_again(unraisable: "sys.UnraisableHookArgs") -> None:
    """Sends SIGTERM again if it arrived in a finalizer, where Python discards the SystemExit."""
    if isinstance(unraisable.exc_value, SystemExit):
        os.kill(os.getpid(), signal.SIGTERM)
    else:
        sys.__unraisablehook__(unraisable)
