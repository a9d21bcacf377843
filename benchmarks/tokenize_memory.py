"""Memory of a tokenization over time: of its worker processes, and of the process that plans and waits.

    python benchmarks/tokenize_memory.py --model speech --data DIR

The data set is a folder, so many times over by symbolic links. Memory is sampled ten times a second; of each tenth of
the time from the first shard on, the largest sum is told. It is flat when the last tenth is about the second.
"""

import argparse
import subprocess
import tempfile
import time
from pathlib import Path

from common import codec_script, emit, fail, forked, resident_mib, run, show

PERIOD = 0.1  # seconds
TENTHS = 10


def main() -> None:
    """Run one tokenization and look at it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="speech", help="name or folder of a narrows model (default: speech)")
    parser.add_argument("--data", type=Path, required=True, help="folder of recordings or pictures")
    parser.add_argument("--times", type=int, default=10, help="how often it stands in the data set (default: 10)")
    parser.add_argument("--workers", type=int, default=2, help="worker processes (default: 2)")
    parser.add_argument("--shard-minutes", type=float, default=2, help="of media (default: 2)")
    arguments = parser.parse_args()
    if min(arguments.times, arguments.workers) < 1:
        parser.error("--times and --workers must be at least 1")

    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "source", Path(folder) / "out"
        source.mkdir()
        for number in range(arguments.times):
            (source / str(number)).symlink_to(arguments.data.resolve(), target_is_directory=True)
        command = [codec_script(), "tokenize", str(source), "-m", arguments.model, "-o", str(out)]
        command += ["--workers", str(arguments.workers), "--shard-minutes", str(arguments.shard_minutes)]
        samples = _watched(command, out)
    tenths = [samples[len(samples) * k // TENTHS : len(samples) * (k + 1) // TENTHS] for k in range(TENTHS)]
    records = [
        {
            "benchmark": "tokenize_memory",
            "model": arguments.model,
            "tenth": number,
            "until_s": tenth[-1][0],
            "workers_mib": max(workers for _, workers, _ in tenth),
            "parent_mib": max(parent for _, _, parent in tenth),
        }
        for number, tenth in enumerate(tenths, 1)
    ]
    for record in records:
        emit(record)
    show(records, ["tenth", "until_s", "workers_mib", "parent_mib"])


def _watched(command: list[str], out: Path) -> list[tuple[float, float, float]]:
    """(seconds, MiB of all workers, MiB of the parent), from the first shard on."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    samples, begin = list[tuple[float, float, float]](), None
    while process.poll() is None:
        time.sleep(PERIOD)
        if begin is None and any(out.glob("*.parquet")):
            begin = time.perf_counter()
        workers = sum(map(resident_mib, forked(process.pid)))
        if begin is not None and workers:
            samples.append((time.perf_counter() - begin, workers, resident_mib(process.pid)))
    if process.returncode:
        fail(process.stderr.read() if process.stderr else "codec tokenize failed")
    if len(samples) < TENTHS:
        fail("it was over too soon to see its memory; raise --times")
    return samples


if __name__ == "__main__":
    run(main)
