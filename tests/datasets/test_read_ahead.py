import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest

from narrows.datasets.read_ahead import DEPTH, ReadError, read_ahead


@pytest.mark.parametrize("threads", [1, 3])
def test_items_are_in_order_and_complete_or_raise(threads: int) -> None:
    def read(number: int) -> Iterator[tuple[int, int]]:
        time.sleep(0.002 * (number % 3))
        yield from ((number, thing) for thing in range(number % 7))
        if number == 5:
            raise ValueError("five")

    found, failed = list[list[tuple[int, int]]](), list[str]()
    for things in read_ahead([partial(read, number) for number in range(20)], threads):
        found.append([])
        try:
            found[-1].extend(things)
        except ReadError as error:
            failed.append(str(error.__cause__))
    assert found == [[(number, thing) for thing in range(number % 7)] for number in range(20)]
    assert failed == ["five"]


def test_reading_ahead_is_limited() -> None:
    read = list[int]()

    def endless(number: int) -> Iterator[int]:
        for thing in range(100):
            read.append(number)
            yield thing

    items = read_ahead([partial(endless, number) for number in range(9)], 2)
    next(next(items))
    deadline = time.monotonic() + 5
    while len(read) < 2 * (DEPTH + 1) + 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(read) <= 2 * (DEPTH + 1) + 1  # in the queues, in the hand of each thread, and what was taken
    assert set(read) == {0, 1}
    items.close()


def test_threads_end_with_the_consumer() -> None:
    before = threading.active_count()
    items = read_ahead([lambda: iter(range(100))] * 5, 3)
    next(next(items))
    assert threading.active_count() == before + 3
    items.close()
    assert threading.active_count() == before
