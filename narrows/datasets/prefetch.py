"""Reading ahead: items are read in threads while the network works on those before them.

thread 1 ─ item 1: ■ ■ ■ ──┐
thread 2 ─ item 2: ■ ■ ────┼─▶ one consumer, items in their order
thread 1 ─ item 3: ■ ■ ■ ──┘
"""

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from queue import Full, Queue
from typing import TypeVar

T = TypeVar("T")
Reader = Callable[[], Iterator[T]]

DEPTH = 4  # things of one item that are held
_WAKE = 0.1  # seconds after which a thread looks whether it is still wanted


class Unread(Exception):
    """An item ended early; why is the cause."""


class _Unwanted(Exception):
    """Nobody takes what a thread reads any more."""


class _End:
    """Comes after the last thing of an item, with the error that ended it early."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error


def ahead(readers: Sequence[Reader[T]], threads: int) -> Generator[Iterator[T], None, None]:
    """For each reader, in order, what it yields. Where a reader raises, Unread is raised in its things' place.

    Each thread is up to two items ahead and holds DEPTH things of each, no more. Each item must be taken to its end or
    its error before the next one.
    """
    lines = [Queue[T | _End](DEPTH) for _ in readers]
    wanted, room, places = threading.Event(), threading.Semaphore(2 * threads), iter(range(len(readers)))
    wanted.set()
    taking = threading.Lock()

    def put(line: "Queue[T | _End]", thing: T | _End) -> None:
        while wanted.is_set():
            with suppress(Full):
                line.put(thing, timeout=_WAKE)
                return
        raise _Unwanted

    def work() -> None:
        with suppress(_Unwanted):
            while wanted.is_set():
                if not room.acquire(timeout=_WAKE):
                    continue
                with taking:
                    place = next(places, None)
                if place is None:
                    return
                _read(readers[place], lambda thing, line=lines[place]: put(line, thing))  # type: ignore[misc]

    crew = [threading.Thread(target=work, daemon=True) for _ in range(min(threads, len(readers)))]
    for thread in crew:
        thread.start()
    try:
        for line in lines:
            yield _taken(line)
            room.release()
    finally:
        wanted.clear()
        for thread in crew:
            thread.join()


def _read(reader: Reader[T], put: Callable[[T | _End], None]) -> None:
    try:
        for thing in reader():
            put(thing)
    except _Unwanted:
        raise
    except Exception as error:
        put(_End(error))
    else:
        put(_End())


def _taken(line: "Queue[T | _End]") -> Iterator[T]:
    while not isinstance(thing := line.get(), _End):
        yield thing
    if thing.error is not None:
        raise Unread from thing.error
