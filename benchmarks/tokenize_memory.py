"""Memory of `codec tokenize` over time: of its worker processes, and of the process that plans and waits.

    python benchmarks/tokenize_memory.py --model speech --data DIR

The data set is a folder, repeated by symbolic links. Memory is sampled ten times a second. The time from the first
shard on is divided into ten parts; for each, the largest sum over workers is reported. Memory does not grow if the last
parts are about as large as the second.
"""

import subprocess
import tempfile
import time
from pathlib import Path

from common import argument_parser, check_positive, codec_script, emit, fail, resident_mib, run, show, worker_pids

PERIOD = 0.1  # seconds
PARTS = 10


def main() -> None:
    """Run one `codec tokenize` and sample its memory."""
    parser = argument_parser(__doc__)
    parser.add_argument("--model", default="speech", help="name or folder of a narrows model (default: speech)")
    parser.add_argument("--data", type=Path, required=True, help="folder of recordings or images")
    parser.add_argument("--times", type=int, default=10, help="repetitions of the folder (default: 10)")
    parser.add_argument("--workers", type=int, default=2, help="worker processes (default: 2)")
    parser.add_argument("--shard-minutes", type=float, default=2, help="minutes of media per shard (default: 2)")
    arguments = parser.parse_args()
    check_positive(parser, arguments, "times", "workers")

    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "source", Path(folder) / "out"
        source.mkdir()
        for number in range(arguments.times):
            (source / str(number)).symlink_to(arguments.data.resolve(), target_is_directory=True)
        command = [codec_script(), "tokenize", str(source), "-m", arguments.model, "-o", str(out)]
        command += ["--workers", str(arguments.workers), "--shard-minutes", str(arguments.shard_minutes)]
        samples = _sampled(command, out)
    parts = [samples[len(samples) * k // PARTS : len(samples) * (k + 1) // PARTS] for k in range(PARTS)]
    records = [
        {
            "benchmark": "tokenize_memory",
            "model": arguments.model,
            "part": number,
            "until_s": part[-1][0],
            "workers_mib": max(workers for _, workers, _ in part),
            "parent_mib": max(parent for _, _, parent in part),
        }
        for number, part in enumerate(parts, 1)
    ]
    for record in records:
        emit(record)
    show(records, ["part", "until_s", "workers_mib", "parent_mib"])


def _sampled(command: list[str], out: Path) -> list[tuple[float, float, float]]:
    """(seconds, MiB of all workers, MiB of the parent), from the first shard on."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    samples, begin = list[tuple[float, float, float]](), None
    while process.poll() is None:
        time.sleep(PERIOD)
        if begin is None and any(out.glob("*.parquet")):
            begin = time.perf_counter()
        workers = sum(map(resident_mib, worker_pids(process.pid)))
        if begin is not None and workers:
            samples.append((time.perf_counter() - begin, workers, resident_mib(process.pid)))
    if process.returncode:
        fail(process.stderr.read() if process.stderr else "codec tokenize failed")
    if len(samples) < PARTS:
        fail("expected a run of at least a second after the first shard, got a shorter one; raise --times")
    return samples


if __name__ == "__main__":
    run(main)
