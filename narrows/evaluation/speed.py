"""Speed and memory of an operating point, measured in a separate process.

Real files are written and read, in one CPU thread. The result is the median over files and rounds.
"""

import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from signal import SIGKILL, Signals

from narrows.errors import InputError, NarrowsError
from narrows.evaluation.base import OperatingPoint
from narrows.evaluation.by_medium import EVALUATIONS
from narrows.evaluation.results import Speed
from narrows.media.medium import Signal

MIB = 2**20
MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes


def measure_speed(point: OperatingPoint, paths: Sequence[Path], rounds: int = 3, seconds: float | None = None) -> Speed:
    """Measures encoding and decoding speed, peak memory and, for a model, FLOPs.

    Encoding is from samples or pixels to a file, decoding the reverse. Loading a model and one warm-up round of the
    first file are not timed. FLOPs of convolutions and matrix products are counted while the first file is encoded and
    decoded. Memory is the larger peak of the process and of the programs that it runs.

    Args:
        point: Operating point.
        paths: Media files, at least one.
        rounds: Number of times that each file is encoded and decoded.
        seconds: Length of the beginning of each file that is used; None for the whole.

    Returns:
        Medians over files and rounds.

    Raises:
        NarrowsError: The point cannot encode or decode a file, or the process ends early.
        InputError: Fewer than one file or round.
    """
    if not paths or rounds < 1:
        raise InputError(f"expected at least 1 file and 1 round, got {len(paths)} files and {rounds} rounds")
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(sender, point, paths, rounds, seconds), daemon=True)
    process.start()
    sender.close()  # only the process has this end now: if it dies, recv() raises EOFError
    try:
        result: Speed | str = receiver.recv()
    except EOFError:
        process.join()
        result = f"its process ended with {_exit_text(process.exitcode)}"
    finally:
        process.kill()
        process.join()
        receiver.close()
    if isinstance(result, str):
        raise NarrowsError(f"the speed of {point.name} cannot be measured: {result}")
    return result


def _work(
    connection: Connection, point: OperatingPoint, paths: Sequence[Path], rounds: int, seconds: float | None
) -> None:
    """Entry point of the process: sends a Speed, or an error message."""
    try:
        connection.send(_measure(point, paths, rounds, seconds))
    except Exception as error:
        connection.send(" ".join(str(error).split()) or type(error).__name__)


def _measure(point: OperatingPoint, paths: Sequence[Path], rounds: int, seconds: float | None) -> Speed:
    evaluation, parameters = EVALUATIONS[point.medium], point.parameters
    medium = evaluation.medium
    if parameters is not None:
        import torch

        torch.set_num_threads(1)
    first = evaluation.read(paths[0], seconds)
    _round_trip_times(point, first)  # warm-up
    encoding, decoding = [], []
    for path in paths:
        signal = evaluation.read(path, seconds)
        for _ in range(rounds):
            encode_seconds, decode_seconds = _round_trip_times(point, signal)
            encoding.append(medium.speed(signal.amount, encode_seconds))
            decoding.append(medium.speed(signal.amount, decode_seconds))
    peak = _peak_mib()  # before counting FLOPs, which needs memory too
    flops = None if parameters is None else _flops(point, first)
    return Speed(statistics.median(encoding), statistics.median(decoding), peak, parameters, flops)


def _round_trip_times(point: OperatingPoint, signal: Signal) -> tuple[float, float]:
    """Seconds of encoding and of decoding."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        path = point.encode(signal, Path(folder))
        middle = time.perf_counter()
        point.decode(path)
        return middle - begin, time.perf_counter() - middle


def _flops(point: OperatingPoint, signal: Signal) -> float:
    """FLOPs of encoding and decoding per second of audio or per pixel."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        _round_trip_times(point, signal)
    return counter.get_total_flops() / signal.amount


def _peak_mib() -> float:
    """The larger of the peak resident memory of this process and of the programs that it ran.

    On Linux VmHWM is read, because ru_maxrss includes the memory of the parent at the start of the process.
    """
    status, usage = Path("/proc/self/status"), resource.getrusage(resource.RUSAGE_SELF)
    lines = status.read_text().splitlines() if status.exists() else []
    peaks = (int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    own = next(peaks, usage.ru_maxrss * MAXRSS_UNIT)
    return max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * MAXRSS_UNIT) / MIB


def _exit_text(code: int | None) -> str:
    """Signal or exit code of a process."""
    if code is not None and code < 0:
        return f"{Signals(-code).name}{' (possibly out of memory)' if -code == SIGKILL else ''}"
    return f"exit code {code}"
