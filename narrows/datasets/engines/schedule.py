"""Assigns shards to workers of any kind. Only who does which shard is decided here; results do not depend on it.

waiting ─▶ worker 0 ─▶ ShardResult ─▶ report
        ─▶ worker 1 ─▶ WorkerKilled: the shard is tried again, item by item
                       killed twice at one item: the shard is tried without this item
                       killed three times before any item: not done; others go on, until three shards are not done
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from narrows.datasets.base import Shard
from narrows.errors import NarrowsError

if TYPE_CHECKING:
    from narrows.datasets.worker import Job, ShardResult

TRIES = 3  # of a shard whose workers are killed before its first item
TRIES_OF_ITEM = 2
KILLED = f"its worker was killed {TRIES_OF_ITEM} times while tokenizing it, perhaps by lack of memory"
Report = Callable[["ShardResult"], None]


class WorkerKilled(Exception):
    """A worker was killed."""


class WorkerHandle(Protocol):
    """A worker in another process, which keeps its model between shards."""

    def submit(self, shard: Shard) -> None:
        """Send it a shard. Does not fail where the worker was killed; `result` does."""

    def result(self) -> "ShardResult":
        """The result of the shard. Raises WorkerKilled, and the NarrowsError that stopped the shard."""

    def stop(self) -> None:
        """End the worker; it removes half-written files."""


W = TypeVar("W", bound=WorkerHandle)


class Engine(Protocol):
    """Runs workers."""

    def select(self, shards: Sequence[Shard]) -> Sequence[Shard]:
        """The shards, out of all of them, that this engine has to do."""

    def run(self, shards: Sequence[Shard], job: "Job", report: Report) -> None:
        """Do shards. Raises NarrowsError for what stops the run; finished shards are kept."""


def schedule(
    shards: Sequence[Shard],
    workers: int,
    start: Callable[[int], W],
    wait: Callable[[Mapping[int, W]], Sequence[int]],
    report: Report,
    current_item: Callable[[Shard], int | None],
) -> None:
    """Do all shards with a number of workers.

    Args:
        shards: to do.
        workers: the number of workers.
        start: starts the worker with this number.
        wait: waits until some workers have a result, and returns their numbers.
        report: called with each result.
        current_item: the index of the item that a killed worker of a shard was tokenizing, as it recorded it; None
            where it recorded none.

    Raises:
        NarrowsError: what stopped a shard; and at the end, if there are shards whose workers were killed each time.
    """
    waiting, handles, busy = deque(shards), dict[int, W](), dict[int, Shard]()
    killed, undone = Counter[tuple[int, int | None]](), list[Shard]()
    try:
        while (waiting or busy) and len(undone) < TRIES:
            for number in range(workers):
                if waiting and number not in busy:
                    if number not in handles:
                        handles[number] = start(number)
                    busy[number] = waiting.popleft()
                    handles[number].submit(busy[number])
            for number in wait({number: handles[number] for number in busy}):
                shard = busy.pop(number)
                try:
                    report(handles[number].result())
                except WorkerKilled:
                    handles.pop(number).stop()
                    item = current_item(shard)
                    killed[shard.index, item] += 1
                    if item is None and killed[shard.index, None] == TRIES:
                        undone.append(shard)
                        continue
                    if item is not None and killed[shard.index, item] == TRIES_OF_ITEM:
                        shard = replace(shard, skipped={**shard.skipped, item: KILLED})
                    waiting.appendleft(replace(shard, one_by_one=True))
    finally:
        for handle in handles.values():
            handle.stop()
    if undone:
        first, last = undone[0].items[0].key, undone[0].items[-1].key
        raise NarrowsError(
            f"{len(undone) + len(waiting) + len(busy)} of {len(shards)} shards are not done; workers of "
            f"{undone[0].name}, {first!r} to {last!r}, were killed {TRIES} times, perhaps by lack of memory: run the "
            "same command again, which keeps finished shards, with fewer workers"
        )
