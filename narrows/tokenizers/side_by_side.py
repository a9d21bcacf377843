"""Calls of a network side by side on a CPU, each in a thread of its own with one thread of PyTorch.

An operation that is split over threads waits for the slowest of them at its end. Windows of a signal need not wait for
each other: on two CPUs they are done about twice as fast as on one, split operations about 1.6 times.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier, BrokenBarrierError, Lock
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")

_LOCK = Lock()
_pools: dict[int, ThreadPoolExecutor] = {}  # by their number of threads


def lanes(device: torch.device) -> int:
    """The number of calls that run side by side: PyTorch's number of threads on a CPU, elsewhere 1."""
    return torch.get_num_threads() if device.type == "cpu" else 1


def side_by_side(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """The results of a function for items, of which as many are computed at a time as PyTorch has threads.

    A single item is computed with all threads of PyTorch, as it would be without this function; so are all items where
    the system has no more threads.
    """
    count = torch.get_num_threads()
    if min(count, len(items)) < 2 or (pool := _pool(count)) is None:
        return [function(item) for item in items]
    inference, gradients = torch.is_inference_mode_enabled(), torch.is_grad_enabled()

    def call(item: T) -> R:
        with torch.inference_mode(inference), torch.set_grad_enabled(gradients):
            return function(item)

    futures: list[Future[R]] = [pool.submit(call, item) for item in items]
    try:
        return [future.result() for future in futures]
    finally:
        for future in futures:
            future.cancel()


def _pool(count: int) -> ThreadPoolExecutor | None:
    """Threads that have one thread of PyTorch each; None if so many cannot be started."""
    with _LOCK:
        if count not in _pools:
            if (pool := _started(count)) is None:
                return None
            _pools[count] = pool
        return _pools[count]


def _started(count: int) -> ThreadPoolExecutor | None:
    ready = Barrier(count)

    def begin() -> None:
        torch.get_num_threads()  # makes PyTorch set the number of this thread, which it does once
        torch.set_num_threads(1)
        with suppress(BrokenBarrierError):
            ready.wait()  # so that all of them start before the number is set again

    pool = ThreadPoolExecutor(count, "narrows", begin)
    try:
        for future in [pool.submit(lambda: None) for _ in range(count)]:
            future.result()
    except BaseException as error:  # those that have started would wait for the others for ever
        ready.abort()
        pool.shutdown(wait=False)
        if not isinstance(error, RuntimeError):
            raise
        return None
    finally:
        torch.set_num_threads(count)  # threads that start later, and MKL, take the number that was set last
    return pool


def _forget() -> None:
    """In a forked process: threads do not live on, and one of them may have held the lock."""
    global _LOCK
    _LOCK = Lock()
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
