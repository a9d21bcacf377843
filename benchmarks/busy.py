"""Seconds of `codec encode` of one file with default settings, idle and beside busy processes, one for each CPU.

    python benchmarks/busy.py FILE [FILE ...]

Each command is a process of its own, so its start counts. The conditions take turns.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from common import argument_parser, check_positive, codec_script, emit, measured, run, show


def main() -> None:
    """Measure each file."""
    parser = argument_parser(__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--runs", type=int, default=3, help="runs of each (default: 3)")
    parser.add_argument("--threads", type=int, help="threads of the command (default: its own choice)")
    arguments = parser.parse_args()
    check_positive(parser, arguments, "runs")
    options = [] if arguments.threads is None else ["--threads", str(arguments.threads)]

    records = []
    for file in arguments.files:
        idle, busy, both = list[float](), list[float](), list[float]()
        for _ in range(arguments.runs):
            idle.append(_seconds([file], options))
            with _busy_processes(len(os.sched_getaffinity(0))):
                busy.append(_seconds([file], options))
            both.append(_seconds([file, file], options))
        record: dict[str, object] = {"benchmark": "busy", "file": file.name, "runs": arguments.runs}
        record |= {"threads": arguments.threads, "idle_s": median(idle), "busy_s": median(busy)}
        record |= {"busy_ratio": median(busy) / median(idle), "two_commands_ratio": median(both) / median(idle)}
        records.append(record)
        emit(record)
    show(records, ["file", "idle_s", "busy_s", "busy_ratio", "two_commands_ratio"])


def _seconds(files: list[Path], options: list[str]) -> float:
    """Wall seconds of the first of several commands that are started together, one for each file."""
    with tempfile.TemporaryDirectory() as folder:
        commands = [
            [codec_script(), "encode", str(file), "-o", f"{folder}/{index}.nrw", *options]
            for index, file in enumerate(files)
        ]
        others = [subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL) for command in commands[1:]]
        cost, _ = measured([sys.executable, *commands[0]])
        for other in others:
            other.wait()
    return cost.wall_seconds


@contextlib.contextmanager
def _busy_processes(count: int) -> Iterator[None]:
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


if __name__ == "__main__":
    run(main)
