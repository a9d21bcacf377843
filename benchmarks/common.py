"""What the benchmarks share: JSON lines, a table for the reader, and children whose time and memory are measured."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from narrows.errors import NarrowsError

PEAK_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes in one unit of ru_maxrss
MIB = 2**20


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


def forked(pid: int) -> list[int]:
    """Worker processes of a tokenization: what the server of forks below it has forked. Exits where nobody knows."""
    if sys.platform != "linux":
        fail("which processes are workers is only known on Linux")
    return [worker for server in _below(pid) if b"forkserver" in _proc(server, "cmdline") for worker in _below(server)]


def resident_mib(pid: int) -> float:
    """Memory of a process that is resident, on Linux; 0 when it has ended."""
    pages = _proc(pid, "statm").split()
    return int(pages[1]) * os.sysconf("SC_PAGE_SIZE") / MIB if pages else 0.0


def _below(pid: int) -> list[int]:
    return [int(child) for child in _proc(pid, f"task/{pid}/children").split()]


def _proc(pid: int, what: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes()
    except OSError:  # it has ended
        return b""


def codec_script() -> str:
    """Path of the command `codec` that belongs to this Python."""
    path = shutil.which("codec", path=str(Path(sys.executable).parent)) or shutil.which("codec")
    if path is None:
        fail("no command `codec` beside this Python; install narrows first: pip install -e .")
    return path


def sound_files(folder: Path) -> list[Path]:
    """The lossless sound files below a folder, sorted by name. Exits if there are none."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in {".wav", ".flac"})
    if not found:
        fail(f"{folder} has no .wav and no .flac file; give a folder of recordings with --data")
    return found


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
    if isinstance(value, Mapping):  # a mean with its interval
        value = value["mean"]
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def fail(message: str) -> NoReturn:
    """Say in one line on standard error what went wrong, and exit with 2."""
    print(f"{Path(sys.argv[0]).name}: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


def run(main: Callable[[], None]) -> None:
    """Call a benchmark's main; errors of the library, of files and of packages become one line and exit code 2."""
    try:
        main()
    except (NarrowsError, OSError, ImportError) as error:
        fail(str(error))
