"""Kill a tokenization at random moments of its work, run it again, and compare with an undisturbed run.

    python benchmarks/tokenize_faults.py --model speech --data DIR

In every trial either a worker or the whole run, with all its processes, is killed by SIGKILL; then the same command
runs to its end. Nothing may be lost, double or different.
"""

import argparse
import hashlib
import os
import random
import signal
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

from common import codec_script, emit, fail, forked, run, show

from narrows.datasets.shards import read_shard

LATER = 0.3  # seconds after a shard, at most: about as long as one takes


def main() -> None:
    """Run undisturbed, then one trial after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="speech", help="name or folder of a narrows model (default: speech)")
    parser.add_argument("--data", type=Path, required=True, help="a data set, as codec tokenize takes it")
    parser.add_argument("--trials", type=int, default=20, help="kills (default: 20)")
    parser.add_argument("--workers", type=int, default=2, help="worker processes (default: 2)")
    parser.add_argument("--shard-minutes", type=float, default=0.25, help="of media (default: 0.25)")
    arguments = parser.parse_args()
    if min(arguments.trials, arguments.workers) < 1:
        parser.error("--trials and --workers must be at least 1")

    with tempfile.TemporaryDirectory() as folder:
        command = [codec_script(), "tokenize", str(arguments.data), "-m", arguments.model]
        command += ["--workers", str(arguments.workers), "--shard-minutes", str(arguments.shard_minutes), "-o"]
        expected = _finished(command, Path(folder) / "expected")
        count, chance, records = _shards(Path(folder) / "expected"), random.Random(0), []
        for number in range(arguments.trials):
            out, target = Path(folder) / str(number), ("worker", "run")[number % 2]
            done = _killed(command, out, target, chance.randrange(count), chance.uniform(0, LATER))
            same = _finished(command, out) == expected
            record = {"benchmark": "tokenize_faults", "trial": number, "killed": target}
            records.append(record | {"shards_then": done, "shards": _shards(out), "same": same, "double": _double(out)})
            emit(records[-1])
        show(records, ["trial", "killed", "shards_then", "shards", "same", "double"])
    bad = [record for record in records if not record["same"] or record["double"]]
    if bad:
        fail(f"{len(bad)} of {len(records)} runs came out otherwise")


def _finished(command: list[str], out: Path) -> dict[str, str]:
    """Run to the end; the SHA-256 of all files that count."""
    done = subprocess.run([*command, str(out)], capture_output=True, text=True)
    if done.returncode:
        fail(done.stderr)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.glob("[!.]*")}


def _killed(command: list[str], out: Path, target: str, shards: int, later: float) -> int:
    """Begin a run and kill a worker, or all processes, so many seconds after so many shards; how many then are done."""
    process = subprocess.Popen(
        [*command, str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    while process.poll() is None and (_shards(out) < shards or not forked(process.pid)):
        time.sleep(0.002)
    time.sleep(later)
    done = _shards(out)
    if target == "run":
        os.killpg(process.pid, signal.SIGKILL)
    elif workers := forked(process.pid):
        os.kill(workers[0], signal.SIGKILL)
    process.wait()
    return done


def _shards(out: Path) -> int:
    return len(list(out.glob("*.parquet")))


def _double(out: Path) -> int:
    """Keys that stand in the folder more than once."""
    counts = Counter(row.key for path in out.glob("*.parquet") for row in read_shard(path))
    return sum(count > 1 for count in counts.values())


if __name__ == "__main__":
    run(main)
