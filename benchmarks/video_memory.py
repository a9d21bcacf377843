"""How much memory and time do encoding and decoding of clips take, by their length and size?

    python benchmarks/video_memory.py [--model video] [--sizes 60x256x256 600x256x256 17x1080x1920]

Clips of moving waves and noise, FRAMES x HEIGHT x WIDTH, through `codec encode` and `codec decode`, each in a process
of its own on one thread. A line each: peak resident memory in MiB, CPU seconds, megapixels per CPU second, bits per
pixel.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from narrows.media import video

CODE = "import sys; from narrows.cli import main; sys.argv[0] = 'codec'; main()"


def frames(count: int, height: int, width: int) -> Iterator[NDArray[np.uint8]]:
    """RGB frames (3, height, width)."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    for t in range(count):
        waves = [np.sin((x + 3 * t) / 40 + c) + np.cos((y - 2 * t) / 30 + c) for c in range(3)]
        noise = rng.integers(-6, 7, (1, height, width))
        yield (128 + 50 * np.stack(waves) + noise).clip(0, 255).astype(np.uint8)


def measured(arguments: list[str]) -> tuple[float, float]:
    """Peak memory in MiB and CPU seconds of a command, with all of its start."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CODE, *arguments]
    quiet = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_WRONLY, 0) for stream in (1, 2)]
    pid = os.posix_spawn(sys.executable, command, environment, file_actions=quiet)
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"expected codec {' '.join(arguments)} to succeed, got status {status}")
    return usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="video")
    parser.add_argument("--sizes", nargs="+", default=["60x256x256", "600x256x256", "17x1080x1920"])
    options = parser.parse_args()
    print("clip            step    peak MiB   CPU s   megapixels/s   bits per pixel")
    with tempfile.TemporaryDirectory() as folder:
        source, coded, decoded = (Path(folder) / name for name in ("a.mp4", "a.nrw", "b.mp4"))
        for size in options.sizes:
            count, height, width = map(int, size.split("x"))
            video.write(source, frames(count, height, width), 25, overwrite=True)
            pixels = count * height * width
            for step, given, made in (("encode", source, coded), ("decode", coded, decoded)):
                arguments = [step, str(given), "-m", options.model, "-o", str(made), "--force", "--threads", "1"]
                memory, seconds = measured(arguments)
                bits = f"{8 * coded.stat().st_size / pixels:.3f}"
                print(
                    f"{size:15} {step:6} {memory:9.0f} {seconds:7.1f} {pixels / seconds / 1e6:14.2f} {bits:>16}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
