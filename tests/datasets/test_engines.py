"""One data set on every engine: the bytes of the files are the same, even if workers are killed."""

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from narrows.datasets.engines.processes import Processes
from narrows.datasets.engines.ranks import Rank
from narrows.datasets.tokenize import Progress, Task, tokenize
from narrows.errors import NarrowsError

Digests = Callable[[Path], dict[str, str]]
MINUTES = 0.05  # a few items a shard


@pytest.fixture(scope="module")
def expected(model: str, recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("expected") / "out"
    tokenize(Task(str(recordings), model, out, MINUTES), Rank(0, 1))
    return out


def children() -> set[int]:
    """Numbers of the processes that this one started and that run a worker."""
    import multiprocessing

    return {child.pid for child in multiprocessing.active_children() if child.pid is not None}


def test_there_are_several_shards(expected: Path) -> None:
    assert len(list(expected.glob("*.parquet"))) >= 4


@pytest.mark.parametrize("workers", [1, 3])
def test_processes(
    model: str, recordings: Path, tmp_path: Path, expected: Path, digests: Digests, workers: int
) -> None:
    seen = list[Progress]()
    summary = tokenize(
        Task(str(recordings), model, tmp_path / "out", MINUTES), Processes(workers), progress=seen.append
    )
    assert digests(tmp_path / "out") == digests(expected)
    assert (summary.items, summary.failures, summary.skipped) == (9, 0, 0)
    assert 0 < summary.network_fraction <= 1
    assert summary.amount == pytest.approx(seen[-1].amount)
    assert (seen[-1].items, seen[-1].total) == (9, 9)
    assert not children()


def test_ranks(model: str, recordings: Path, tmp_path: Path, expected: Path, digests: Digests) -> None:
    task = Task(str(recordings), model, tmp_path / "out", MINUTES)
    summaries = [tokenize(task, Rank(rank, 2)) for rank in (1, 0)]
    assert digests(tmp_path / "out") == digests(expected)
    assert sum(summary.items for summary in summaries) == 9


def test_ray(model: str, recordings: Path, tmp_path: Path, expected: Path, digests: Digests) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own
        ray = pytest.importorskip("ray")
        from narrows.datasets.engines.ray import Actors

        tokenize(Task(str(recordings), model, tmp_path / "out", MINUTES), Actors(2))
        assert not ray.is_initialized()
    assert digests(tmp_path / "out") == digests(expected)


def test_shards_of_killed_workers_are_tried_again(
    model: str, recordings: Path, tmp_path: Path, expected: Path, digests: Digests
) -> None:
    killed = list[int]()

    def kill_one(_: Progress) -> None:
        if not killed:
            killed.append(children().pop())
            os.kill(killed[0], signal.SIGKILL)

    tokenize(Task(str(recordings), model, tmp_path / "out", MINUTES), Processes(2), progress=kill_one)
    assert killed
    assert digests(tmp_path / "out") == digests(expected)


def test_workers_that_are_always_killed_stop_the_run(
    model: str, recordings: Path, tmp_path: Path, expected: Path, digests: Digests
) -> None:
    task, over, killed = Task(str(recordings), model, tmp_path / "out", MINUTES), threading.Event(), set[int]()

    def kill() -> None:
        while not over.is_set():
            for pid in children() - killed:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
            time.sleep(0.01)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with pytest.raises(NarrowsError, match=r"shards are not done; workers of 0000.*were killed 3 times"):
            tokenize(task, Processes(1))
    finally:
        over.set()
        killer.join()
    assert len(killed) == 9
    tokenize(task, Rank(0, 1))
    assert digests(tmp_path / "out") == digests(expected)


def test_scripts_without_a_main_guard_get_advice(model: str, recordings: Path, tmp_path: Path) -> None:
    script = f"""
from pathlib import Path
from narrows.datasets.engines.processes import Processes
from narrows.datasets.tokenize import Task, tokenize
tokenize(Task({str(recordings)!r}, {model!r}, Path({str(tmp_path / "out")!r})), Processes(1))
"""
    (tmp_path / "script.py").write_text(script)
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True)
    assert done.returncode == 1
    assert 'must call tokenize under if __name__ == "__main__":' in done.stderr.splitlines()[-1]
