"""The number of CPU threads of a command: as many as there are CPUs that other processes leave free.

With more threads than free CPUs a network takes several times as long as with one thread: at the end of each parallel
loop all threads wait for the one that has no CPU. Worst are the threads of MKL, which wait without giving way: beside
two busy processes on two CPUs they make the coding of an image 30 times as slow. So MKL and the OpenBLAS
of NumPy, which compute the products of small float64 matrices here, get one thread at any time, and PyTorch the others.
"""

import ctypes
import os
import time
from math import ceil
from pathlib import Path

from narrows.errors import InputError

_INTERVAL = 0.2  # seconds, the shortest that the load of other processes is measured over: a tick is 0.01 s
_STAT = Path("/proc/stat")
_QUOTAS = ("/sys/fs/cgroup/cpu.max", "/sys/fs/cgroup/cpu/cpu.cfs_quota_us")  # of control groups, version 2 and 1


class Threads:
    """Sets the number of threads of PyTorch in this process.

    Args:
        number: the number of threads; None for as many as CPUs are free, measured anew at each `set`. On systems
            without /proc/stat all CPUs count as free.
        share: number of processes that share the CPUs.

    Raises:
        InputError: for a number that is not from 1 to the number of CPUs.
    """

    def __init__(self, number: int | None = None, share: int = 1) -> None:
        most = os.cpu_count() or 1
        if number is not None and not 1 <= number <= most:
            raise InputError(f"expected 1 to {most} threads, the number of CPUs, got {number}")
        self._number, self._share = number, share
        self._cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self._most: int | None = None  # PyTorch's own number, which OMP_NUM_THREADS sets
        self._before = time.monotonic(), self._used_by_others()
        self._free = self.allowed

    @property
    def allowed(self) -> int:
        """Number of CPUs that this process may use."""
        return min(len(self._cpus) or os.cpu_count() or 1, _quota())

    def choose(self) -> int:
        """The number of threads for the work that follows."""
        return self._number or max(1, self.free() // self._share)

    def set(self) -> None:
        """Set the number of threads for the work that follows."""
        import torch

        if self._most is None:
            self._most = torch.get_num_threads()
        number = self.choose() if self._number else min(self._most, self.choose())
        if number != torch.get_num_threads():
            torch.set_num_threads(number)
        _give_mkl_one_thread()
        _give_openblas_one_thread()

    def free(self) -> int:
        """Number of CPUs that other processes left free since the last call, rounded; at least 1."""
        now, used = time.monotonic(), self._used_by_others()
        if now - self._before[0] >= _INTERVAL:
            others = (used - self._before[1]) / (now - self._before[0])
            self._free = max(1, round(self.allowed - max(0.0, others)))
            self._before = now, used
        return self._free

    def _used_by_others(self) -> float:
        """CPU seconds that other processes used on our CPUs since the start of the system.

        Processes with lower priority than ours do not count, since they give way.
        """
        try:
            lines = [line.split() for line in _STAT.read_text().splitlines() if line.startswith("cpu")]
        except OSError:
            return 0.0
        ours = {f"cpu{number}" for number in self._cpus}
        counted = (
            (1, 3, 6, 7, 8) if os.nice(0) <= 0 else (1, 2, 3, 6, 7, 8)
        )  # user, (nice,) system, irq, softirq, steal
        ticks = sum(int(line[i]) for line in lines if line[0] in ours for i in counted if i < len(line))
        times = os.times()
        return ticks / os.sysconf("SC_CLK_TCK") - times.user - times.system


def _give_mkl_one_thread() -> None:
    """Set MKL's number of threads in the calling thread, where PyTorch is built with MKL."""
    import torch

    try:
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
        library.MKL_Set_Num_Threads_Local(1)
    except (OSError, AttributeError):  # another system, or another library for matrix products
        return


def _give_openblas_one_thread() -> None:
    """Set the number of threads of OpenBLAS, where NumPy comes with it, as its wheels for Linux do."""
    import numpy as np

    for path in Path(np.__file__).parent.with_name("numpy.libs").glob("libscipy_openblas64_*"):
        try:
            ctypes.CDLL(str(path)).scipy_openblas_set_num_threads64_(1)
        except (OSError, AttributeError):  # another name of the function
            return


def _quota() -> int:
    """The CPUs that the control group of this process allows, rounded up."""
    for path in _QUOTAS:
        try:
            limit, *period = Path(path).read_text().split()
            if not period:
                period = Path(path).with_name("cpu.cfs_period_us").read_text().split()
            if float(limit) > 0:
                return max(1, ceil(float(limit) / float(period[0])))
        except (OSError, ValueError, IndexError):  # "max": no limit
            continue
    return os.cpu_count() or 1
