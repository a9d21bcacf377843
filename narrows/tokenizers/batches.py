"""Things of one kind through a network together, whichever signals they come from.

recording 1  ├─window─┤├─window─┤      kind (1, 32000)   ■ ■ ■ ■ ─▶ run ─▶ each result to the signal that it is of
recording 2  ├─window─┤├─window─┤
recording 3  ├─short─┤                 kind (1, 20160)   ■ ─▶ waits for others of its kind, or for the end
"""

import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Batches(Generic[T, R]):
    """Calls `run` with lists of `size` things of one kind, and with what is left of each kind at the end.

    Nothing is padded. Results of one kind come in the order in which the things were added. seconds: spent in `run`.
    """

    def __init__(self, run: Callable[[list[T]], list[R]], size: int) -> None:
        self.run, self.size, self.seconds = run, size, 0.0
        self._waiting: dict[Hashable, list[tuple[T, Callable[[R], None]]]] = {}

    def add(self, kind: Hashable, thing: T, take: Callable[[R], None]) -> None:
        """Take in a thing; `take` is called with what comes of it, now or later."""
        waiting = self._waiting.setdefault(kind, [])
        waiting.append((thing, take))
        if len(waiting) >= self.size:
            self._go(kind)

    def finish(self) -> None:
        """Run what still waits."""
        for kind in list(self._waiting):
            self._go(kind)

    def _go(self, kind: Hashable) -> None:
        group, begin = self._waiting.pop(kind), time.perf_counter()
        results = self.run([thing for thing, _ in group])
        self.seconds += time.perf_counter() - begin
        for (_, take), result in zip(group, results, strict=True):
            take(result)
