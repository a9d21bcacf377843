"""Calls of a network side by side on a CPU, each in a thread of its own with one thread of PyTorch.

An operation that is split over threads waits for the slowest of them at its end. Windows of a signal need not wait for
each other: on two CPUs they are done about twice as fast as on one, split operations about 1.6 times.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Barrier, Lock
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

    A single item is computed with all threads of PyTorch, as it would be without this function.
    """
    count = min(torch.get_num_threads(), len(items))
    if count < 2:
        return [function(item) for item in items]
    inference, gradients = torch.is_inference_mode_enabled(), torch.is_grad_enabled()

    def call(item: T) -> R:
        with torch.inference_mode(inference), torch.set_grad_enabled(gradients):
            return function(item)

    pool = _pool(torch.get_num_threads())
    futures: list[Future[R]] = [pool.submit(call, item) for item in items]
    try:
        return [future.result() for future in futures]
    finally:
        for future in futures:
            future.cancel()


def _pool(count: int) -> ThreadPoolExecutor:
    """Threads that have one thread of PyTorch each."""
    with _LOCK:
        if count not in _pools:
            ready = Barrier(count)

            def begin() -> None:
                torch.get_num_threads()  # makes PyTorch set the number of this thread, which it does once
                torch.set_num_threads(1)
                ready.wait()  # so that all of them start before the number is set again

            pool = _pools[count] = ThreadPoolExecutor(count, "narrows", begin)
            for future in [pool.submit(lambda: None) for _ in range(count)]:
                future.result()
            torch.set_num_threads(count)  # threads that start later, and MKL, take the number that was set last
        return _pools[count]


if hasattr(os, "register_at_fork"):  # threads do not live on in a forked process
    os.register_at_fork(after_in_child=_pools.clear)
