"""Batching of equally shaped inputs, also of different signals, for one network.

recording 1  ├─window─┤├─window─┤      shape (1, 32000)   ■ ■ ■ ■ ─▶ run ─▶ results, each to its signal
recording 2  ├─window─┤├─window─┤
recording 3  ├─short─┤                 shape (1, 20160)   ■ ─▶ waits for others of its shape, or for `finish`
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator
from typing import Any, Generic, TypeVar

from narrows.media.files import Source
from narrows.tokenizers.side_by_side import side_by_side
from narrows.tokenizers.tokens import Latents, Tokens

T = TypeVar("T")
R = TypeVar("R")


class BatchEncoder(ABC):
    """Encodes many signals: pieces of equal shape, also of different signals, are batched into one call of the network.

    Attributes:
        seconds: time spent in the network.
    """

    @property
    @abstractmethod
    def seconds(self) -> float:
        """Time spent in the network."""

    @abstractmethod
    def read(self, source: Source) -> Iterator[Any]:
        """Read a file as pieces for `add`. Does not run the network, so several threads may read while one encodes.

        Raises MediaError and InputError for a file that cannot be read or encoded.
        """

    @abstractmethod
    def add(self, pieces: Iterator[Any]) -> Callable[[], Tokens | Latents]:
        """Encode the pieces of a signal, now or later. Call the returned function after `finish` to get the result."""

    @abstractmethod
    def finish(self) -> None:
        """Encode the pieces that still wait for a full batch."""


class Batches(Generic[T, R]):
    """Collects inputs by shape and calls `run` with `size` of them at a time; `finish` runs the remaining ones.

    Nothing is padded. Results of one shape arrive in the order in which the inputs were added.

    Args:
        run: computes a list of results from a list of inputs of one shape.
        size: inputs per call.
        lanes: calls that run side by side, once there are so many; see `side_by_side`.

    Attributes:
        seconds: time spent in `run`.
    """

    def __init__(self, run: Callable[[list[T]], list[R]], size: int, lanes: int = 1) -> None:
        self.run, self.size, self.lanes, self.seconds = run, size, lanes, 0.0
        self._waiting: dict[Hashable, list[tuple[T, Callable[[R], None]]]] = {}
        self._ready: list[list[tuple[T, Callable[[R], None]]]] = []

    def add(self, shape: Hashable, x: T, receive: Callable[[R], None]) -> None:
        """Add an input; `receive` is called with its result, now or later."""
        waiting = self._waiting.setdefault(shape, [])
        waiting.append((x, receive))
        if len(waiting) >= self.size:
            self._ready.append(self._waiting.pop(shape))
        if len(self._ready) >= self.lanes:
            self._run()

    def finish(self) -> None:
        """Run the inputs that still wait for a full batch."""
        for group in self._waiting.values():
            self._ready.append(group)
            if len(self._ready) >= self.lanes:
                self._run()
        self._waiting = {}
        if self._ready:
            self._run()

    def _run(self) -> None:
        groups, begin = self._ready, time.perf_counter()
        self._ready = []
        results = side_by_side(self.run, [[x for x, _ in group] for group in groups])
        self.seconds += time.perf_counter() - begin
        for group, computed in zip(groups, results, strict=True):
            for (_, receive), result in zip(group, computed, strict=True):
                receive(result)
