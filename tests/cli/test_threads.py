import ctypes
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from narrows.cli import threads
from narrows.cli.threads import Threads
from narrows.errors import InputError

HERTZ = os.sysconf("SC_CLK_TCK")
pytestmark = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="only Linux tells the load of each CPU")


@pytest.fixture
def stat(tmp_path, monkeypatch):
    """stat(user, nice) -> other processes have used CPU seconds of each of 4 CPUs; a fifth CPU is not ours."""
    monkeypatch.setattr(threads, "_STAT", tmp_path / "stat")
    monkeypatch.setattr(threads, "_INTERVAL", 0.0)
    monkeypatch.setattr(threads, "_QUOTAS", ())
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3})
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    monkeypatch.setattr(os, "nice", lambda step: 0)
    clock = iter(range(100))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))  # a second from call to call

    def write(*user, nice=0.0):
        own = sum(os.times()[:2])
        users = [*user, *[0.0] * (4 - len(user)), 1e6]
        users[0] += own
        lines = [f"cpu{i} {round(value * HERTZ)} {round(nice * HERTZ)} 0 9 9 0 0 0" for i, value in enumerate(users)]
        (tmp_path / "stat").write_text("cpu 1 2 3\n" + "\n".join(lines) + "\nintr 7\n")

    write()
    return write


@pytest.mark.parametrize(
    ("used", "free"), [((), 4), ((1.0,), 3), ((0.3, 0.1), 4), ((0.9, 0.9, 0.5), 2), ((1.0, 1.0, 1.0, 1.0), 1)]
)
def test_cpus_that_others_use_are_not_free(stat, used, free):
    number = Threads()
    stat(*used)
    assert number.free() == free


def test_processes_of_lower_priority_give_way(stat, monkeypatch):
    number = Threads()
    stat(nice=1.0)
    assert number.free() == 4
    monkeypatch.setattr(os, "nice", lambda step: 5)
    number = Threads()
    stat(nice=2.0)
    assert number.free() == 1


def test_the_load_is_measured_anew(stat):
    number = Threads()
    stat(1.0, 1.0)
    assert number.free() == 2
    assert number.free() == 4  # none was used since


def test_cpus_are_shared_by_jobs(stat):
    assert [Threads(share=share).choose() for share in (1, 2, 3, 9)] == [4, 2, 1, 1]
    assert Threads(5, share=2).choose() == 5


def test_the_quota_of_a_container_counts(stat, tmp_path, monkeypatch):
    monkeypatch.setattr(threads, "_QUOTAS", (str(tmp_path / "none"), str(tmp_path / "cpu.max")))
    for text, allowed in (("max 100000", 4), ("150000 100000", 2), ("1000 100000", 1), ("900000 100000", 4), ("", 4)):
        (tmp_path / "cpu.max").write_text(text + "\n")
        assert Threads().allowed == allowed
    monkeypatch.setattr(threads, "_QUOTAS", (str(tmp_path / "cpu.cfs_quota_us"),))
    (tmp_path / "cpu.cfs_period_us").write_text("100000\n")
    for text, allowed in (("-1", 4), ("250000", 3)):
        (tmp_path / "cpu.cfs_quota_us").write_text(text + "\n")
        assert Threads().allowed == allowed


def test_without_proc_all_cpus_are_free(stat, tmp_path):
    (tmp_path / "stat").unlink()
    assert Threads().free() == 4


@pytest.fixture
def torch_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_pytorch_gets_the_number(stat, torch_threads):
    torch.set_num_threads(3)
    number = Threads()
    number.set()
    assert torch.get_num_threads() == 3  # never more than PyTorch would take, as OMP_NUM_THREADS asks for
    stat(1.0, 1.0, 1.0)
    number.set()
    assert torch.get_num_threads() == 1
    number.set()
    assert torch.get_num_threads() == 3
    Threads(2).set()
    assert torch.get_num_threads() == 2


def test_more_threads_than_cpus(stat):
    for number in (0, 6, 99999):
        with pytest.raises(InputError, match=f"expected 1 to 5 threads, the number of CPUs, got {number}"):
            Threads(number)


def test_openblas_gets_one_thread():
    libraries = list(Path(np.__file__).parent.with_name("numpy.libs").glob("libscipy_openblas64_*"))
    if not libraries:
        pytest.skip("NumPy without its own OpenBLAS")
    library = ctypes.CDLL(str(libraries[0]))
    library.scipy_openblas_set_num_threads64_(2)
    before = torch.get_num_threads()
    Threads(1).set()
    torch.set_num_threads(before)
    assert library.scipy_openblas_get_num_threads64_() == 1
