"""Shared by the benchmarks: JSON lines, tables, timing in turns, child processes whose time and memory are measured."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median, stdev
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from narrows.errors import NarrowsError

if TYPE_CHECKING:
    from narrows import AudioTokenizer, ImageTokenizer

PEAK_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes in one unit of ru_maxrss
MIB = 2**20
WARM_UP = 2  # rounds that are not counted
LOAD = "import sys, narrows; narrows.load(sys.argv[1])"  # Python code of a process that only loads a model
T = TypeVar("T")


# --- command line ---


def argument_parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose help is the docstring of the script."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def check_positive(parser: argparse.ArgumentParser, arguments: argparse.Namespace, *names: str) -> None:
    """Exit with a message unless the named arguments are at least 1."""
    for name in names:
        value = getattr(arguments, name)
        if min(value if isinstance(value, list) else [value]) < 1:
            parser.error(f"expected --{name.replace('_', '-')} of at least 1, got {value}")


def run(main: Callable[[], None]) -> None:
    """Call a benchmark's main; errors of the library, of files and of packages become one line and exit code 2."""
    try:
        main()
    except (NarrowsError, OSError, ImportError) as error:
        fail(str(error))


def fail(message: str) -> NoReturn:
    """Print an error in one line on standard error, and exit with 2."""
    print(f"{Path(sys.argv[0]).name}: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


# --- results ---


def emit(record: Mapping[str, object]) -> None:
    """Print a record as one line of JSON, numbers to 5 decimals."""
    print(json.dumps(_rounded(record)), flush=True)


def show(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> None:
    """Print some columns of the records as an aligned table on standard error."""
    cells = [list(columns), *([_cell(row.get(column)) for column in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        padded = [cell.rjust(width) for cell, width in zip(line, widths, strict=True)]
        print("  ".join([line[0].ljust(widths[0]), *padded[1:]]), file=sys.stderr)


def _rounded(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    return round(value, 5) if isinstance(value, float) else value


def _cell(value: object) -> str:
    if isinstance(value, Mapping):  # a mean with its standard deviation
        value = value["mean"]
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def mean_and_std(runs: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float | None]]:
    """Mean and standard deviation of each metric over runs with different seeds; None for the latter of one run."""
    values = {name: [metrics[name] for metrics in runs] for name in runs[0]}
    return {name: {"mean": mean(v), "std": stdev(v) if len(v) > 1 else None} for name, v in values.items()}


def ratios(above: Iterable[float], below: Iterable[float]) -> dict[str, float]:
    """Median, smallest and largest ratio of two series, pair by pair."""
    values = [a / b for a, b in zip(above, below, strict=True)]
    return {"median": median(values), "min": min(values), "max": max(values)}


# --- time ---


@dataclass(frozen=True)
class Timing:
    """Seconds that one call took: wall time, and CPU time of all threads."""

    wall: float
    cpu: float

    def __add__(self, other: "Timing") -> "Timing":
        return Timing(self.wall + other.wall, self.cpu + other.cpu)


def timed(call: Callable[[], T]) -> tuple[T, Timing]:
    """Call once; the result and how long it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    return result, Timing(time.perf_counter() - wall, time.process_time() - cpu)


def in_turns(calls: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Results of calls that take turns (A B A B ...), so that other load on the machine affects all of them.

    The first WARM_UP rounds are left out.
    """
    results: dict[str, list[T]] = {name: [] for name in calls}
    for _ in range(rounds + WARM_UP):
        for name, call in calls.items():
            results[name].append(call())
    return {name: values[WARM_UP:] for name, values in results.items()}


# --- processes ---


@dataclass(frozen=True)
class Cost:
    """What a child process took: seconds of CPU (user and system, all threads), seconds of wall time, peak MiB."""

    cpu_seconds: float
    wall_seconds: float
    peak_mib: float


def measured(command: Sequence[str]) -> tuple[Cost, str]:
    """Run a command in a fresh process; what it cost, and what it printed on both outputs. Exits if the command fails.

    A child starts with the peak memory of its parent on record, so a script that measures memory stays small itself.
    """
    with tempfile.TemporaryFile("w+") as output:
        begin = time.perf_counter()
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - begin
        child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        printed = output.read()
    if child.returncode:
        last = (printed.strip() or "it printed nothing").splitlines()[-1]
        fail(f"{' '.join(command)!r} ended with {child.returncode}: {last}")
    return Cost(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss * PEAK_UNIT / MIB), printed


def measured_json(command: Sequence[str]) -> tuple[Cost, dict[str, Any]]:
    """Run a command in a fresh process; what it cost, and the JSON object in its last line. Exits if it fails."""
    cost, printed = measured(command)
    record: dict[str, Any] = json.loads(printed.strip().splitlines()[-1])
    return cost, record


def peak_mib() -> float:
    """Peak memory of this process so far."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * PEAK_UNIT / MIB


def worker_pids(pid: int) -> list[int]:
    """Worker processes of a `codec tokenize`: children of the fork server below it. Exits elsewhere than on Linux."""
    if sys.platform != "linux":
        fail("expected Linux, where worker processes can be found, got another system")
    servers = [child for child in _children(pid) if b"forkserver" in _proc(child, "cmdline")]
    return [worker for server in servers for worker in _children(server)]


def resident_mib(pid: int) -> float:
    """Resident memory of a process, on Linux; 0 when it has ended."""
    pages = _proc(pid, "statm").split()
    return int(pages[1]) * os.sysconf("SC_PAGE_SIZE") / MIB if pages else 0.0


def _children(pid: int) -> list[int]:
    return [int(child) for child in _proc(pid, f"task/{pid}/children").split()]


def _proc(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:  # it has ended
        return b""


# --- models and files ---


def codec_script() -> str:
    """Path of the command `codec` that belongs to this Python."""
    path = shutil.which("codec", path=str(Path(sys.executable).parent)) or shutil.which("codec")
    if path is None:
        fail("expected the command `codec` beside this Python, got none; install narrows first: pip install -e .")
    return path


def load_audio_model(name: str) -> "AudioTokenizer":
    """A tokenizer of audio. Exits for a model of another medium."""
    import narrows

    tokenizer = narrows.load(name)
    if not isinstance(tokenizer, narrows.AudioTokenizer):
        fail(f"expected a model of audio, got {name}, a model of {tokenizer.medium.name}")
    return tokenizer


def load_image_model(name: str) -> "ImageTokenizer":
    """An image tokenizer with an entropy model and its frequency tables. Exits for another model."""
    import narrows

    tokenizer = narrows.load(name)
    if not isinstance(tokenizer, narrows.ImageTokenizer) or tokenizer.entropy_model is None or tokenizer.tables is None:
        fail(f"expected an image model with an entropy model and tables, got {name}")
    return tokenizer


def random_encodec(seed: int) -> Any:
    """EnCodec 24 kHz of transformers with random weights, on which its speed does not depend."""
    import torch
    from transformers import EncodecConfig, EncodecModel

    torch.manual_seed(seed)
    model: Any = EncodecModel(EncodecConfig()).eval()  # type: ignore[no-untyped-call]
    for layer in model.quantizer.layers:
        layer.codebook.embed.normal_()  # they are zero until trained
    return model


def audio_files(folder: Path) -> list[Path]:
    """The lossless audio files below a folder, sorted by name. Exits if there are none."""
    return _files(folder, frozenset({".wav", ".flac"}), "recordings")


def image_files(folder: Path) -> list[Path]:
    """The image files below a folder, sorted by name. Exits if there are none."""
    from narrows.media.table import MEDIA

    return _files(folder, MEDIA["image"].suffixes, "images")


def _files(folder: Path, suffixes: frozenset[str], kind: str) -> list[Path]:
    from narrows.media.folders import find_files

    found = [Path(file.path) for file in find_files(folder, suffixes)]
    if not found:
        fail(f"expected {kind} ({', '.join(sorted(suffixes))}) below {folder}, got none; give their folder with --data")
    return found
