"""Shards to hands that do them, whatever the hands are. Who does which is decided here, never what comes of it.

waiting ─▶ hand 0 ─▶ Done ─▶ report
        ─▶ hand 1 ─▶ Lost: the shard waits again, to be done item by item
                     Lost at the same item twice: without it
                     Lost three times at none: not done; the others go on, until three shards are lost so
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from narrows.datasets.base import Shard
from narrows.errors import NarrowsError

if TYPE_CHECKING:
    from narrows.datasets.work import Done, Job

TRIES = 3  # of a shard whose workers are killed before any item
TRIES_OF_ITEM = 2
KILLER = f"its worker was killed {TRIES_OF_ITEM} times over it, perhaps for want of memory"
Report = Callable[["Done"], None]


class Lost(Exception):
    """A worker was killed."""


class Hand(Protocol):
    """A worker somewhere else, that keeps its model from shard to shard."""

    def begin(self, shard: Shard) -> None:
        """Give it a shard; whether it is still there shows later."""

    def result(self) -> "Done":
        """What came of that. Raises Lost when it was killed, and what stopped the shard."""

    def end(self) -> None:
        """Leave nothing half-written, and go."""


H = TypeVar("H", bound=Hand)


class Engine(Protocol):
    """Where shards are done."""

    def share(self, shards: Sequence[Shard]) -> Sequence[Shard]:
        """Those of all shards that are this engine's to do."""

    def run(self, shards: Sequence[Shard], job: "Job", report: Report) -> None:
        """Do them. Raises NarrowsError for what stops the run; what is done by then is kept."""


def schedule(
    shards: Sequence[Shard],
    hands: int,
    hire: Callable[[int], H],
    wait: Callable[[Mapping[int, H]], Sequence[int]],
    report: Report,
    noted: Callable[[Shard], int | None],
) -> None:
    """Have all shards done by so many hands. hire: the hand number n. wait: the numbers of those that have a result.
    noted: the place of the item at which a careful worker of a shard was.

    Raises NarrowsError for what stopped a shard, and in the end for shards whose workers were always killed.
    """
    waiting, crew, busy = deque(shards), dict[int, H](), dict[int, Shard]()
    lost, undone = Counter[tuple[int, int | None]](), list[Shard]()
    try:
        while (waiting or busy) and len(undone) < TRIES:
            for number in range(hands):
                if waiting and number not in busy:
                    if number not in crew:
                        crew[number] = hire(number)
                    busy[number] = waiting.popleft()
                    crew[number].begin(busy[number])
            for number in wait({number: crew[number] for number in busy}):
                shard = busy.pop(number)
                try:
                    report(crew[number].result())
                except Lost:
                    crew.pop(number).end()
                    place = noted(shard)
                    lost[shard.index, place] += 1
                    if place is None and lost[shard.index, None] == TRIES:
                        undone.append(shard)
                        continue
                    if place is not None and lost[shard.index, place] == TRIES_OF_ITEM:
                        shard = replace(shard, without={**shard.without, place: KILLER})
                    waiting.appendleft(replace(shard, careful=True))
    finally:
        for hand in crew.values():
            hand.end()
    if undone:
        first, last = undone[0].entries[0].key, undone[0].entries[-1].key
        raise NarrowsError(
            f"{len(undone) + len(waiting) + len(busy)} of {len(shards)} shards are not done; workers of "
            f"{undone[0].name}, {first!r} to {last!r}, were killed {TRIES} times, perhaps for want of memory: run the "
            "same command again, which keeps what is done, with fewer workers"
        )
