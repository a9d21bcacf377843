import os
import signal
import threading

import pytest
import torch

from narrows.tokenizers import side_by_side as module
from narrows.tokenizers.batches import Batches
from narrows.tokenizers.side_by_side import lanes, side_by_side
from narrows.tokenizers.windows import cut, decode_tiles, tiles


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_results_are_in_order_and_each_thread_has_one_of_pytorch(two_threads):
    seen = []

    def square(number):
        seen.append((threading.current_thread().name, torch.get_num_threads()))
        return number**2

    assert side_by_side(square, range(9)) == [number**2 for number in range(9)]
    assert {count for _, count in seen} == {1}
    assert all(name.startswith("narrows") for name, _ in seen)
    assert torch.get_num_threads() == 2
    assert side_by_side(square, [3]) == [9]
    assert seen[-1] == ("MainThread", 2)
    assert side_by_side(square, []) == []


def test_two_calls_run_at_the_same_time(two_threads):
    both = threading.Barrier(2)
    assert side_by_side(lambda number: both.wait(20) >= 0, range(2)) == [True, True]


def test_modes_of_the_caller_count(two_threads):
    def modes(_):
        return torch.is_inference_mode_enabled(), torch.is_grad_enabled()

    with torch.inference_mode():
        assert side_by_side(modes, range(2)) == [(True, False)] * 2
    with torch.no_grad():
        assert side_by_side(modes, range(2)) == [(False, False)] * 2
    assert side_by_side(modes, range(2)) == [(False, True)] * 2


def test_an_error_is_that_of_the_first_item(two_threads):
    def fail(number):
        raise ValueError(str(number))

    with pytest.raises(ValueError, match=r"^0$"):
        side_by_side(fail, range(5))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own(two_threads):
    side_by_side(abs, range(2))
    child = os.fork()
    if child == 0:
        os._exit(0 if side_by_side(abs, [-1, -2]) == [1, 2] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_process_that_is_forked_while_threads_start(two_threads):
    with module._LOCK:  # as another thread would hold it
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            os._exit(0 if side_by_side(abs, [-1, -2]) == [1, 2] else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_without_threads_items_are_computed_one_after_the_other(two_threads, monkeypatch):
    start, started = threading.Thread.start, []

    def limited(thread):
        if started:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(module, "_pools", {})
    monkeypatch.setattr(threading.Thread, "start", limited)
    assert side_by_side(abs, [-1, -2, -3]) == [1, 2, 3]
    monkeypatch.undo()
    started[0].join(20)
    assert not started[0].is_alive()
    assert torch.get_num_threads() == 2


def test_lanes(two_threads):
    assert lanes(torch.device("cpu")) == 2
    assert lanes(torch.device("meta")) == 1


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("size", [1, 2])
def test_batches_and_tiles_give_the_same(two_threads, size, count):
    received = []
    batches = Batches(lambda items: [item * 10 for item in items], size, count)
    for number in range(7):
        batches.add(number % 2, number, received.append)
    batches.finish()
    assert sorted(received) == [number * 10 for number in range(7)]
    assert [each for each in received if each % 20 == 0] == [0, 20, 40, 60]
    values = torch.randn(1, 3, 50)

    def network(z):
        return z.repeat_interleave(2, 2)

    pieces = decode_tiles(values, tiles(lambda: cut(50, 12, (2, 2))), (2,), network, size, count)
    assert torch.equal(torch.cat([x for _, x in pieces], 2), network(values))
