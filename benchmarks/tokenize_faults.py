"""Kill a tokenization at random moments of its work, run it again, and compare with an undisturbed run.

    python benchmarks/tokenize_faults.py --model speech --data DIR
    python benchmarks/tokenize_faults.py --model video --clips 200 --in-a-row 10

In every trial either a worker or the whole run, with all its processes, is killed by SIGKILL; then the same command
runs to its end. With --in-a-row there is one trial, whose run is killed so many times. No item may be lost, repeated or
different.
"""

import hashlib
import os
import random
import signal
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from common import argument_parser, check_positive, codec_script, emit, fail, run, show, worker_pids

from narrows.datasets.shards import read_shard
from narrows.media import video

MAX_DELAY = 0.3  # seconds from a finished shard to the kill; about as long as one shard takes


def main() -> None:
    """Run undisturbed, then one trial after another."""
    parser = argument_parser(__doc__)
    parser.add_argument("--model", default="speech", help="name or folder of a narrows model (default: speech)")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, help="a data set, as codec tokenize takes it")
    source.add_argument("--clips", type=int, help="number of clips of 2 to 10 s, 64 × 48 pixels, that are made for it")
    parser.add_argument("--trials", type=int, default=20, help="number of kills (default: 20)")
    parser.add_argument("--in-a-row", type=int, help="kill one run so many times, instead of many runs once")
    parser.add_argument("--workers", type=int, default=2, help="worker processes (default: 2)")
    parser.add_argument("--shard-minutes", type=float, default=0.25, help="minutes of media per shard (default: 0.25)")
    arguments = parser.parse_args()
    check_positive(parser, arguments, "trials", "workers")

    with tempfile.TemporaryDirectory() as folder:
        data = arguments.data or _clips(Path(folder) / "clips", arguments.clips)
        command = [codec_script(), "tokenize", str(data), "-m", arguments.model]
        command += ["--workers", str(arguments.workers), "--shard-minutes", str(arguments.shard_minutes), "-o"]
        expected = _finished(command, Path(folder) / "expected")
        count, rng, records = _shards(Path(folder) / "expected"), random.Random(0), []
        for number in range(1 if arguments.in_a_row else arguments.trials):
            out, target = Path(folder) / str(number), ("worker", "run")[number % 2]
            if arguments.in_a_row:
                target = "run"
                at = sorted(rng.randrange(count) for _ in range(arguments.in_a_row))
                done: object = [_killed(command, out, target, shards, rng.uniform(0, MAX_DELAY)) for shards in at]
            else:
                done = _killed(command, out, target, rng.randrange(count), rng.uniform(0, MAX_DELAY))
            same = _finished(command, out) == expected
            record = {"benchmark": "tokenize_faults", "trial": number, "killed": target}
            records.append(
                record | {"shards_at_kill": done, "shards": _shards(out), "same": same, "repeated": _repeated(out)}
            )
            emit(records[-1])
        show(records, ["trial", "killed", "shards_at_kill", "shards", "same", "repeated"])
    bad = [record for record in records if not record["same"] or record["repeated"]]
    if bad:
        fail(f"expected equal files from all {len(records)} runs, got {len(bad)} that differ")


def _clips(folder: Path, count: int) -> Path:
    """Write clips of moving waves to a new folder."""
    folder.mkdir()
    y, x = np.mgrid[:48, :64] / 8
    for number in range(count):
        rng = np.random.default_rng(number)
        speeds = rng.uniform(0.05, 0.5, 3)[:, None, None]
        frames = (
            (128 + 60 * (np.sin(x + speeds * t) + np.cos(y * (1 + speeds)))).clip(0, 255).astype(np.uint8)
            for t in range(round(rng.uniform(2, 10) * 25))
        )
        video.write(folder / f"{number:03d}.mp4", frames, 25)
    return folder


def _finished(command: list[str], out: Path) -> dict[str, str]:
    """Run to the end; the SHA-256 of each output file."""
    done = subprocess.run([*command, str(out)], capture_output=True, text=True)
    if done.returncode:
        fail(done.stderr)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.glob("[!.]*")}


def _killed(command: list[str], out: Path, target: str, shards: int, delay: float) -> int:
    """Start a run; kill a worker or all processes `delay` seconds after `shards` shards. Returns the shards done."""
    process = subprocess.Popen(
        [*command, str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    while process.poll() is None and (_shards(out) < shards or not worker_pids(process.pid)):
        time.sleep(0.002)
    time.sleep(delay)
    done = _shards(out)
    if target == "run":
        os.killpg(process.pid, signal.SIGKILL)
    elif workers := worker_pids(process.pid):
        os.kill(workers[0], signal.SIGKILL)
    process.wait()
    return done


def _shards(out: Path) -> int:
    return len(list(out.glob("*.parquet")))


def _repeated(out: Path) -> int:
    """Number of keys that more than one item has."""
    counts = Counter(row.key for path in out.glob("*.parquet") for row in read_shard(path))
    return sum(count > 1 for count in counts.values())


if __name__ == "__main__":
    run(main)
