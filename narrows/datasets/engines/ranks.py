"""Shards in this process, which is one of many that something else has started: Slurm, a shell, a test."""

from collections.abc import Sequence
from functools import cache, partial

from narrows.datasets.base import Shard
from narrows.datasets.engines.schedule import Report
from narrows.datasets.work import Job, Worker, attempt
from narrows.errors import InputError


class Rank:
    """This process alone, number `rank` of `world` that share a data set without a word to each other."""

    def __init__(self, rank: int, world: int) -> None:
        if not 0 <= rank < world:
            raise InputError(f"rank {rank} of a world of {world} given, 0 to {world - 1} wanted; count ranks from 0")
        self.rank, self.world = rank, world

    def share(self, shards: Sequence[Shard]) -> Sequence[Shard]:
        return shards[self.rank :: self.world]

    def run(self, shards: Sequence[Shard], job: Job, report: Report) -> None:
        worker = cache(partial(Worker, job))
        for shard in shards:
            report(attempt(worker, shard))
