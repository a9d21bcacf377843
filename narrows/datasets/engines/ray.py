"""Shards in actors of Ray, on this machine or a cluster whose machines share the folder of the results.

Actors keep their model; Ray decides where they run. What a killed one had begun is done again as by any other engine,
and not by Ray's own retries, which would not be counted.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any

from narrows.datasets.base import Shard
from narrows.datasets.engines.schedule import Lost, Report, schedule
from narrows.datasets.work import Done, Job, Worker, attempt
from narrows.errors import InputError, NarrowsError


class Actors:
    """`workers` actors of one processor each, and of one GPU where the device is cuda.

    Joins the cluster that this process or RAY_ADDRESS names, or starts one on this machine. Raises InputError without
    the package ray.
    """

    def __init__(self, workers: int) -> None:
        try:
            import ray  # noqa: F401
        except ImportError as error:
            raise InputError(
                "the engine ray needs the package ray; install it with: pip install 'narrows[ray]'"
            ) from error
        self.workers = workers

    def share(self, shards: Sequence[Shard]) -> Sequence[Shard]:
        return shards

    def run(self, shards: Sequence[Shard], job: Job, report: Report) -> None:
        import ray

        ours = not ray.is_initialized()
        if ours:
            cluster = os.environ.get("RAY_ADDRESS")
            options: dict[str, Any] = {} if cluster else {"num_cpus": self.workers, "include_dashboard": False}
            ray.init(address=cluster, log_to_driver=False, logging_level=logging.ERROR, **options)
        try:
            schedule(shards, self.workers, partial(_Actor, job), _ready, report, job.noted)
        finally:
            if ours:
                ray.shutdown()


class _Remote:
    """What runs in the actor. folder: that the run was started in, from which paths are told."""

    def __init__(self, job: Job, folder: str) -> None:
        os.chdir(folder)
        self.worker = cache(partial(Worker, job))

    def do(self, shard: Shard) -> Done | NarrowsError:
        try:
            return attempt(self.worker, shard)
        except NarrowsError as error:
            return error


class _Actor:
    def __init__(self, job: Job, number: int) -> None:
        import ray

        gpus = 1 if job.device.startswith("cuda") else 0
        self._actor: Any = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0)(_Remote).remote(job, os.getcwd())

    def begin(self, shard: Shard) -> None:
        self.future = self._actor.do.remote(shard)

    def result(self) -> Done:
        import ray

        try:
            found = ray.get(self.future)
        except ray.exceptions.RayActorError:
            raise Lost from None
        if not isinstance(found, Done):
            raise found
        return found

    def end(self) -> None:
        import ray

        ray.kill(self._actor)


def _ready(hands: Mapping[int, _Actor]) -> list[int]:
    import ray

    ready, _ = ray.wait([hand.future for hand in hands.values()])
    return [number for number, hand in hands.items() if hand.future in ready]
