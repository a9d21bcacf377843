"""Speed of the shipped models in this checkout and in another one, such as an older version.

    python benchmarks/versions.py --other ../narrows-0.1 --recording speech.wav --image photo.png

Each checkout runs in its own process with one thread; the processes take turns, operation by operation. A ratio above 1
means that this checkout is slower. The shipped models of both must be the same for the ratios to mean anything.
"""

import os
import subprocess
import sys
from pathlib import Path
from statistics import median

from common import argument_parser, check_positive, emit, fail, ratios, run, show

WORKER = """
import sys, time
import numpy as np, soundfile, torch
from PIL import Image
import narrows

torch.set_num_threads(1)
samples, rate = soundfile.read(sys.argv[1], dtype="float32", always_2d=True)
x = np.ascontiguousarray(samples.T)
pixels = np.ascontiguousarray(np.asarray(Image.open(sys.argv[2]).convert("RGB")).transpose(2, 0, 1))
speech, image = narrows.load("speech"), narrows.load("image")
tokens, codes = speech.encode(x, rate), image.encode(pixels, quality=4, effort=0)
stream, data = speech.compress(tokens), image.compress(codes)
operations = {
    "speech encode": lambda: speech.encode(x, rate),
    "speech decode": lambda: speech.decode(tokens),
    "speech compress": lambda: speech.compress(tokens),
    "speech decompress": lambda: speech.decompress(stream),
    "image encode": lambda: image.encode(pixels, quality=4, effort=0),
    "image decode": lambda: image.decode_signal(codes).pixels,
    "image compress": lambda: image.compress(codes),
    "image decompress": lambda: image.decompress(data),
    "image effort 1": lambda: image.encode(pixels[:, :256, :256], quality=4, effort=1),
}
print("\\t".join(operations), flush=True)
for name in map(str.strip, sys.stdin):
    begin = time.process_time()
    operations[name]()
    print(time.process_time() - begin, flush=True)
"""


class Checkout:
    """A process that imports narrows from one checkout and times operations on request."""

    def __init__(self, root: Path, recording: Path, image: Path) -> None:
        command = [sys.executable, "-c", WORKER, str(recording.resolve()), str(image.resolve())]
        environment = os.environ | {"PYTHONPATH": str(root.resolve()), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=root
        )
        self.root, self.operations = root, self._read().split("\t")

    def seconds(self, operation: str) -> float:
        """CPU seconds of an operation."""
        assert self.process.stdin is not None
        self.process.stdin.write(operation + "\n")
        self.process.stdin.flush()
        return float(self._read())

    def _read(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if not line:
            fail(f"expected a checkout of narrows that runs, got {self.root}, whose process ended")
        return line


def main() -> None:
    """Time each operation in both checkouts."""
    parser = argument_parser(__doc__)
    parser.add_argument("--other", type=Path, required=True, help="folder of the other checkout")
    parser.add_argument("--recording", type=Path, required=True, help="WAV or FLAC file of speech")
    parser.add_argument("--image", type=Path, required=True, help="image file")
    parser.add_argument("--rounds", type=int, default=31, help="timed runs of each operation (default: 31)")
    arguments = parser.parse_args()
    check_positive(parser, arguments, "rounds")

    roots = {"this": Path(__file__).parents[1], "other": arguments.other}
    checkouts = {name: Checkout(root, arguments.recording, arguments.image) for name, root in roots.items()}
    records = []
    for operation in checkouts["this"].operations:
        times: dict[str, list[float]] = {name: [] for name in checkouts}
        for index in range(arguments.rounds + 1):  # the first is a warm-up; the order alternates
            for name in sorted(checkouts, reverse=index % 2 == 1):
                times[name].append(checkouts[name].seconds(operation))
        this, other = times["this"][1:], times["other"][1:]
        record: dict[str, object] = {"benchmark": "versions", "operation": operation, "rounds": arguments.rounds}
        record |= {"this_s": median(this), "other_s": median(other), "ratio": ratios(this, other)["median"]}
        records.append(record)
        emit(record)
    show(records, ["operation", "this_s", "other_s", "ratio"])


if __name__ == "__main__":
    run(main)
