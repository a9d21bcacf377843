"""Shards to hands that do them, whatever the hands are. Who does which is decided here, never what comes of it.

waiting ─▶ hand 0 ─▶ Done ─▶ report
        ─▶ hand 1 ─▶ Lost: the shard waits again, three times at most
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from narrows.errors import NarrowsError
from narrows.tokenizers.datasets.base import Shard

if TYPE_CHECKING:
    from narrows.tokenizers.datasets.work import Done, Job

TRIES = 3
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
) -> None:
    """Have all shards done by so many hands. hire: the hand number n. wait: the numbers of those that have a result.

    Raises NarrowsError for a shard whose workers were killed three times, and for what stopped another.
    """
    waiting, lost, crew, busy = deque(shards), Counter[int](), dict[int, H](), dict[int, Shard]()
    try:
        while waiting or busy:
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
                    lost[shard.index] += 1
                    if lost[shard.index] == TRIES:
                        raise NarrowsError(_told(shard)) from None
                    waiting.appendleft(shard)
    finally:
        for hand in crew.values():
            hand.end()


def _told(shard: Shard) -> str:
    first, last = shard.entries[0].key, shard.entries[-1].key
    return (
        f"shard {shard.name}, {first!r} to {last!r}: its worker was killed {TRIES} times, perhaps for want of memory; "
        "the other shards are kept: run the same command again, with fewer workers or shorter shards"
    )
