"""Speed and memory of an operating point, in a process of its own.

Files are written and read, on one thread of the processor; of several files and rounds the median counts.
"""

import multiprocessing
import resource
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from narrows.errors import InputError, NarrowsError
from narrows.evaluation.base import OperatingPoint, Signal
from narrows.evaluation.media import MEDIA
from narrows.evaluation.results import Speed

MIB = 2**20
PEAK_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes in one unit of ru_maxrss


def measure_speed(point: OperatingPoint, paths: Sequence[Path], rounds: int = 3) -> Speed:
    """Speed of encoding and of decoding, each `rounds` times for each file, after once for the first that is not timed.

    Encoding is from samples or pixels to a file, decoding the way back; loading a model counts in neither. Of a model
    all FLOPs of both are counted that are in convolutions and products of matrices, for the first file. Memory is that
    of the process and of each program that it runs, whichever has most.

    Raises NarrowsError with the reason where the point cannot code a file or its process ends early, InputError for
    less than one file or round.
    """
    if not paths or rounds < 1:
        raise InputError(f"{len(paths)} files and {rounds} rounds given to measure speed with, at least 1 wanted")
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, point, paths, rounds), daemon=True)
    process.start()
    theirs.close()  # the process alone holds this end, so that its death is the end of the pipe
    try:
        result: Speed | str = ours.recv()
    except EOFError:
        process.join()
        result = f"its process ended with {_end(process.exitcode)}"
    finally:
        process.kill()
        process.join()
        ours.close()
    if isinstance(result, str):
        raise NarrowsError(f"the speed of {point.name} cannot be measured: {result}")
    return result


def _work(results: Connection, point: OperatingPoint, paths: Sequence[Path], rounds: int) -> None:
    """What the process does: it sends a Speed, or the reason why there is none."""
    try:
        results.send(_measured(point, paths, rounds))
    except Exception as error:
        results.send(" ".join(str(error).split()) or type(error).__name__)


def _measured(point: OperatingPoint, paths: Sequence[Path], rounds: int) -> Speed:
    medium, parameters = MEDIA[point.medium], point.parameters
    if parameters is not None:
        import torch

        torch.set_num_threads(1)
    first = medium.read(paths[0])
    _timed(point, first)
    encoding, decoding = [], []
    for path in paths:
        item = medium.read(path)
        for _ in range(rounds):
            encoded, decoded = _timed(point, item)
            encoding.append(medium.speed(item.amount, encoded))
            decoding.append(medium.speed(item.amount, decoded))
    peak = _peak_mib()  # before FLOPs are counted
    flops = None if parameters is None else _flops(point, first)
    return Speed(statistics.median(encoding), statistics.median(decoding), peak, parameters, flops)


def _timed(point: OperatingPoint, item: Signal) -> tuple[float, float]:
    """Seconds of encoding and of decoding."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        path = point.encode(item, Path(folder))
        middle = time.perf_counter()
        point.decode(path)
        return middle - begin, time.perf_counter() - middle


def _flops(point: OperatingPoint, item: Signal) -> float:
    """For a second or a pixel."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        _timed(point, item)
    return counter.get_total_flops() / item.amount


def _peak_mib() -> float:
    """The most resident memory of this process, or of a program that it ran.

    Linux counts in ru_maxrss what a parent held when it started the process, but not in VmHWM.
    """
    status, usage = Path("/proc/self/status"), resource.getrusage(resource.RUSAGE_SELF)
    lines = status.read_text().splitlines() if status.exists() else []
    told = (int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    own = next(told, usage.ru_maxrss * PEAK_UNIT)
    return max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * PEAK_UNIT) / MIB


def _end(code: int | None) -> str:
    """How a process ended, in words."""
    if code is not None and code < 0:
        return f"{signal.Signals(-code).name}{', perhaps since memory ran out' if -code == signal.SIGKILL else ''}"
    return f"exit code {code}"
