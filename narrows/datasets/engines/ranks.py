"""Shards in this process, which is one of several that something else has started: Slurm, a shell, a test."""

from collections.abc import Sequence
from functools import cache, partial

from narrows.datasets.base import Shard
from narrows.datasets.engines.schedule import Report
from narrows.datasets.worker import Job, Worker, run_shard
from narrows.errors import InputError


class Rank:
    """This process alone, number `rank` of `world` that divide a data set without communication.

    Raises InputError unless rank is from 0 to world - 1.
    """

    def __init__(self, rank: int, world: int) -> None:
        if not 0 <= rank < world:
            raise InputError(f"expected a rank from 0 to {world - 1} for a world of {world}, got {rank}")
        self.rank, self.world = rank, world

    def select(self, shards: Sequence[Shard]) -> Sequence[Shard]:
        return shards[self.rank :: self.world]

    def run(self, shards: Sequence[Shard], job: Job, report: Report) -> None:
        worker = cache(partial(Worker, job))
        for shard in shards:
            report(run_shard(worker, shard))
