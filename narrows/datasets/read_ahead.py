"""Reading ahead: threads read items while the network works on the items before them.

thread 1 ─ item 1: ■ ■ ■ ──┐
thread 2 ─ item 2: ■ ■ ────┼─▶ one consumer, items in order
thread 1 ─ item 3: ■ ■ ■ ──┘
"""

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from queue import Full, Queue
from typing import TypeVar

T = TypeVar("T")
Reader = Callable[[], Iterator[T]]

DEPTH = 4  # pieces of one item in its queue
_POLL = 0.1  # seconds after which a waiting thread checks whether it should stop


class ReadError(Exception):
    """A reader raised; its error is the cause."""


class _Stopped(Exception):
    """The consumer has stopped."""


class _End:
    """Follows the last piece of an item, with the error that ended it early."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error


def read_ahead(readers: Sequence[Reader[T]], threads: int) -> Generator[Iterator[T], None, None]:
    """For each reader, in order, the pieces that it yields; ReadError where a reader raises.

    At most two items per thread are being read or waiting, with at most DEPTH pieces each in memory. Each item must be
    consumed to its end or its error before the next one is taken.
    """
    queues = [Queue[T | _End](DEPTH) for _ in readers]
    running, slots, indices = threading.Event(), threading.Semaphore(2 * threads), iter(range(len(readers)))
    running.set()
    lock = threading.Lock()

    def put(queue: "Queue[T | _End]", piece: T | _End) -> None:
        while running.is_set():
            with suppress(Full):
                queue.put(piece, timeout=_POLL)
                return
        raise _Stopped

    def work() -> None:
        with suppress(_Stopped):
            while running.is_set():
                if not slots.acquire(timeout=_POLL):
                    continue
                with lock:
                    index = next(indices, None)
                if index is None:
                    return
                _read(readers[index], lambda piece, queue=queues[index]: put(queue, piece))  # type: ignore[misc]

    workers = [threading.Thread(target=work, daemon=True) for _ in range(min(threads, len(readers)))]
    for thread in workers:
        thread.start()
    try:
        for queue in queues:
            yield _pieces(queue)
            slots.release()
    finally:
        running.clear()
        for thread in workers:
            thread.join()


def _read(reader: Reader[T], put: Callable[[T | _End], None]) -> None:
    try:
        for piece in reader():
            put(piece)
    except _Stopped:
        raise
    except Exception as error:
        put(_End(error))
    else:
        put(_End())


def _pieces(queue: "Queue[T | _End]") -> Iterator[T]:
    while not isinstance(piece := queue.get(), _End):
        yield piece
    if piece.error is not None:
        raise ReadError from piece.error
