"""Damaged audio files: does reading one of them ever end otherwise than with samples or one of the library's errors?

    python benchmarks/fuzz_audio.py --files 12000 > fuzz_audio.jsonl

Small files of many formats are made with libsndfile and, where it is there, the program ffmpeg. Each file of the run is
one of them with some bytes changed, cut, moved or repeated, by a generator whose seed is the number of the file. It is
read in a child process. An exception that is none of the library's errors, the end of the process, more than 5 s and
more than 1 GB of memory are faults; they are printed, and --first N --files 1 --keep DIR writes file N again.
"""

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
from common import PEAK_UNIT, argument_parser, check_positive, emit, run

from narrows.errors import NarrowsError
from narrows.media import audio

SECONDS, GIGABYTE = 5, 2**30
RATE = 48_000
HEAD = 600  # bytes at the begin, which are changed more often
NUMBERS = (0, 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 10**9)
SOUNDFILE = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC", "OGG", "MP3")
FFMPEG = {
    "m4a": "aac alac",
    "mp4": "libmp3lame libopus ac3 flac libvorbis",
    "mov": "pcm_s16le pcm_f32be",
    "mkv": "aac libvorbis flac pcm_s24le",
    "webm": "libopus",
    "ogg": "libvorbis flac libspeex",
    "opus": "libopus",
    "ts": "aac mp2",
    "caf": "alac pcm_s24be",
    "avi": "libmp3lame",
    "wma": "wmav2",
    **{"mp3": "libmp3lame", "aac": "aac", "ac3": "ac3", "flac": "flac", "wv": "wavpack", "tta": "tta"},
    **{"wav": "pcm_s64le adpcm_ima_wav adpcm_ms g722", "aiff": "pcm_s16be", "flv": "aac", "mpg": "mp2"},
}


def main() -> None:
    """Read the files and print the counts."""
    parser = argument_parser(__doc__)
    parser.add_argument("--files", type=int, default=1000, help="number of damaged files. [1000]")
    parser.add_argument("--first", type=int, default=0, help="number of the first. [0]")
    parser.add_argument("--keep", type=Path, help="folder to write the files to.")
    parser.add_argument("--child", type=Path, help="(for the child processes) folder of the whole files.")
    arguments = parser.parse_args()
    check_positive(parser, arguments, "files")
    if arguments.child:
        read_files(arguments.child, arguments.first, arguments.files, arguments.keep)
        return
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        make_files(Path(folder))
        last = arguments.first + arguments.files
        for number, outcome in outcomes(Path(folder), arguments.first, last, arguments.keep):
            counts[outcome if outcome in ("read", "refused") else "faults"] += 1
            if outcome not in ("read", "refused"):
                emit({"file": number, "fault": outcome})
    emit({"files": arguments.files, **counts})


def outcomes(folder: Path, first: int, last: int, keep: Path | None) -> Iterator[tuple[int, str]]:
    """The number of each file and what happened; a new child continues after a file that ended one."""
    while first < last:
        command = [
            sys.executable,
            __file__,
            "--child",
            str(folder),
            "--first",
            str(first),
            "--files",
            str(last - first),
        ]
        if keep:
            command += ["--keep", str(keep)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert child.stderr is not None
        for line in child.stdout:
            yield first, line.strip()
            first += 1
        printed = child.stderr.read()
        if child.wait() == -signal.SIGALRM:
            yield first, f"more than {SECONDS} s"
            first += 1
        elif child.returncode:
            yield first, f"exit code {child.returncode}: {printed[-300:]}"
            first += 1


def read_files(folder: Path, first: int, count: int, keep: Path | None) -> None:
    """Read damaged files, and print a line about each."""
    whole = [path.read_bytes() for path in sorted(folder.iterdir())]
    for number in range(first, first + count):
        path = (keep or folder.parent) / f"narrows-fuzz-{os.getpid()}-{number}"
        path.write_bytes(damaged(whole, number))
        signal.alarm(SECONDS)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * PEAK_UNIT
        try:
            outcome = outcome_of(path)
        finally:
            if not keep:
                path.unlink()
        signal.alarm(0)
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * PEAK_UNIT - before > GIGABYTE:
            outcome = "more than 1 GB"
        print(outcome, flush=True)


def outcome_of(path: Path) -> str:
    """How reading a file ends."""
    try:
        for block in audio.blocks(path):
            assert np.isfinite(block).all()
    except NarrowsError as error:
        return "refused" if "\n" not in str(error) else f"several lines: {error!r}"
    except Exception as error:
        return repr(error)[:300].replace("\n", " ")
    return "read"


def damaged(whole: list[bytes], number: int) -> bytes:
    """One of the files with 1 to 6 changes."""
    generator = np.random.default_rng(number)
    data = bytearray(whole[generator.integers(len(whole))])
    for _ in range(min(6, generator.geometric(0.5))):
        size = len(data)
        at = int(generator.integers(size if generator.random() < 0.4 else min(size, HEAD)))
        length = int(2 ** generator.uniform(0, 10))
        match generator.integers(8):
            case 0 | 1:
                data[at] ^= 1 << int(generator.integers(8))
            case 2:
                data[at] = int(generator.integers(256))
            case 3 | 4:
                value = NUMBERS[generator.integers(len(NUMBERS))]
                width = int(generator.choice([2, 4, 8]))
                data[at : at + width] = (value % 256**width).to_bytes(
                    width, "big" if generator.random() < 0.5 else "little"
                )
            case 5:
                data[at : at + length] = generator.bytes(length) if generator.random() < 0.5 else bytes(length)
            case 6:
                data[at:] = data[at + length :] if generator.random() < 0.5 else data[at : at + length] + data[at:]
            case 7:
                other = whole[generator.integers(len(whole))]
                data = data[:at] + other[at:] if generator.random() < 0.3 else data[: max(1, at)]
        data = data or bytearray(1)
    return bytes(data)


def make_files(folder: Path) -> None:
    """Write the whole files: 0.3 s of noise, mono, stereo and 5.1."""
    noise = np.random.default_rng(0).standard_normal((RATE * 3 // 10, 6)) * 0.1
    for format in SOUNDFILE:
        for channels in (1, 2, 6) if format not in ("MP3",) else (1, 2):
            soundfile.write(folder / f"{format}-{channels}", noise[:, :channels], RATE, format=format)
    soundfile.write(folder / "OPUS-2", noise[:, :2], RATE, format="OGG", subtype="OPUS")
    soundfile.write(folder / "ALAC-2", noise[:, :2], RATE, format="CAF", subtype="ALAC_16")
    if shutil.which("ffmpeg") is None:
        return
    for suffix, codecs in FFMPEG.items():
        for codec in codecs.split():
            command = ["ffmpeg", "-v", "error", "-i", folder / "WAV-2", "-strict", "-2", "-c:a", codec]
            subprocess.run([*command, folder / f"{codec}.{suffix}"], check=False, stderr=subprocess.DEVNULL)
    for path in folder.iterdir():
        if path.stat().st_size == 0:
            path.unlink()


if __name__ == "__main__":
    run(main)
