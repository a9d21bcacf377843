"""Shards in actors of Ray, on this machine or on a cluster whose machines share the output folder.

Actors keep their model; Ray decides where they run. The shard of a killed actor is tried again by `schedule`, as with
any engine, and not by Ray's own retries, which would not be counted.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any

from narrows.datasets.base import Shard
from narrows.datasets.engines.schedule import Report, WorkerKilled, schedule
from narrows.datasets.worker import Job, ShardResult, Worker, run_shard
from narrows.errors import InputError, NarrowsError
from narrows.plugins import VARIABLE


class Actors:
    """`workers` actors with one CPU each, and with one GPU where the device is cuda.

    Uses the cluster that this process or RAY_ADDRESS names, or starts one on this machine. Raises InputError without
    the package ray.
    """

    def __init__(self, workers: int) -> None:
        try:
            import ray  # noqa: F401
        except ImportError as error:
            raise InputError(
                "expected the package ray for this engine, got none; install it with: pip install 'narrows[ray]'"
            ) from error
        self.workers = workers

    def select(self, shards: Sequence[Shard]) -> Sequence[Shard]:
        return shards

    def run(self, shards: Sequence[Shard], job: Job, report: Report) -> None:
        import ray

        started_here = not ray.is_initialized()
        if started_here:
            cluster = os.environ.get("RAY_ADDRESS")
            options: dict[str, Any] = {} if cluster else {"num_cpus": self.workers, "include_dashboard": False}
            ray.init(address=cluster, log_to_driver=False, logging_level=logging.ERROR, **options)
        try:
            schedule(shards, self.workers, partial(_ActorHandle, job), _ready, report, job.current_item)
        finally:
            if started_here:
                ray.shutdown()


class _Actor:
    """Runs in the actor.

    Args:
        job: what it works on.
        folder: the current folder of the run, which relative paths start from.
        imports: the modules of the user, as in NARROWS_IMPORT.
    """

    def __init__(self, job: Job, folder: str, imports: str) -> None:
        os.chdir(folder)
        os.environ[VARIABLE] = imports
        self.worker = cache(partial(Worker, job))

    def run(self, shard: Shard) -> ShardResult | NarrowsError:
        try:
            return run_shard(self.worker, shard)
        except NarrowsError as error:
            return error


class _ActorHandle:
    """An actor as a WorkerHandle."""

    def __init__(self, job: Job, number: int) -> None:
        import ray

        gpus = 1 if job.device.startswith("cuda") else 0
        actor = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0)(_Actor)
        self._actor: Any = actor.remote(job, os.getcwd(), os.environ.get(VARIABLE, ""))

    def submit(self, shard: Shard) -> None:
        self.future = self._actor.run.remote(shard)

    def result(self) -> ShardResult:
        import ray

        try:
            found = ray.get(self.future)
        except ray.exceptions.RayActorError:
            raise WorkerKilled from None
        if not isinstance(found, ShardResult):
            raise found
        return found

    def stop(self) -> None:
        import ray

        ray.kill(self._actor)


def _ready(handles: Mapping[int, _ActorHandle]) -> list[int]:
    import ray

    ready, _ = ray.wait([handle.future for handle in handles.values()])
    return [number for number, handle in handles.items() if handle.future in ready]
