"""Peak memory of encoding and decoding a minute and an hour, and whether windows give the codes of the whole.

    python benchmarks/audio_memory.py --model speech --data DIR

Every step runs in a fresh process. The recordings are made once, in a temporary folder that is removed at the end.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
import soundfile
import soxr
from common import codec_script, emit, fail, measured, run, show, sound_files
from numpy.typing import NDArray

RATE = 16_000  # Hz
LOAD = "import sys, narrows; narrows.load(sys.argv[1])"
ENCODE_FILE = "import sys, narrows; narrows.load(sys.argv[1]).encode_file(sys.argv[2])"


def main() -> None:
    """Measure the steps for each duration, then compare windows with the whole on the shortest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="speech", help="name or folder of a narrows model (default: speech)")
    parser.add_argument("--data", type=Path, help="folder of speech to repeat (default: tones in noise)")
    parser.add_argument("--seconds", type=int, nargs="+", default=[60, 3600], help="durations (default: 60 3600)")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (default: 2)")
    arguments = parser.parse_args()
    if min(arguments.seconds) < 1:
        parser.error("--seconds must be at least 1")
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)  # for the children

    setting = {"benchmark": "audio_memory", "model": arguments.model, "threads": arguments.threads}
    durations = sorted(set(arguments.seconds))
    with tempfile.TemporaryDirectory() as folder:
        recordings = {seconds: Path(folder) / f"{seconds}.wav" for seconds in durations}
        for seconds, path in recordings.items():
            _make(path, seconds, arguments.data)
        records = [setting | {"step": "load"} | _cost([sys.executable, "-c", LOAD, arguments.model], 0)]
        for seconds, path in recordings.items():
            for step, command in _steps(arguments.model, path).items():
                records.append(setting | {"step": step} | _cost(command, seconds))
        for record in records:
            emit(record)
        for step in dict.fromkeys(record["step"] for record in records[1:]):
            peaks = [record["peak_mib"] for record in records if record["step"] == step]
            emit(
                setting
                | {"growth_of": step, "from_s": durations[0], "to_s": durations[-1], "mib": peaks[-1] - peaks[0]}
            )
        show(records, ["step", "seconds", "peak_mib", "wall_s", "cpu_s", "x_realtime_wall"])
        check = setting | _windows_against_whole(arguments.model, recordings[durations[0]])
        emit(check)
        counts = f"{check['different']} of {check['codes']} codes differ in {check['windows']} windows"
        print(f"windows against whole, {durations[0]} s: {counts}", file=sys.stderr)


def _steps(model: str, path: Path) -> dict[str, list[str]]:
    """The commands of one recording, in the order in which they must run."""
    codec, stream, decoded = codec_script(), path.with_suffix(".nrw"), path.with_suffix(".decoded.wav")
    return {
        "tok.encode_file": [sys.executable, "-c", ENCODE_FILE, model, str(path)],
        "codec encode": [codec, "encode", str(path), "-m", model, "-o", str(stream)],
        "codec decode": [codec, "decode", str(stream), "-m", model, "-o", str(decoded)],
    }


def _cost(command: Sequence[str], seconds: int) -> dict[str, float | int | None]:
    """Peak memory and times of a command that works on so many seconds of sound."""
    cost, _ = measured(command)
    speed = seconds / cost.wall_seconds if seconds else None  # with the start of the program
    times = {"wall_s": cost.wall_seconds, "cpu_s": cost.cpu_seconds, "x_realtime_wall": speed}
    return {"seconds": seconds, "peak_mib": cost.peak_mib, **times}


def _make(path: Path, seconds: int, data: Path | None) -> None:
    """Write a 16-bit WAV file of exactly so many seconds, block by block."""
    left = seconds * RATE
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
        for block in _noise() if data is None else _speech(data):
            file.write(block[:left])
            left -= min(left, len(block))
            if not left:
                return


def _noise() -> Iterator[NDArray[np.float32]]:
    """Endless seconds of a gliding tone with overtones in noise."""
    random, time = np.random.default_rng(0), np.arange(RATE) / RATE
    for second in cycle(range(60)):
        tone = sum(np.sin(2 * np.pi * (100 + 2 * second) * n * time) / n for n in range(1, 8))
        yield (0.1 * tone + 0.02 * random.standard_normal(RATE)).astype(np.float32)


def _speech(data: Path) -> Iterator[NDArray[np.float32]]:
    """The recordings of a folder, one after another and again, at 16 kHz."""
    for path in cycle(sound_files(data)):
        x, rate = soundfile.read(path, dtype="float32", always_2d=True)
        if len(x) == 0:
            fail(f"{path} is empty; take it out of {data}")
        yield soxr.resample(x.mean(1), rate, RATE)


def _windows_against_whole(model: str, path: Path) -> dict[str, str | float | int]:
    """How many codes of a file differ between the windows of `encode_file` and one pass over all of it."""
    import torch  # only now: a parent's memory counts as its children's

    import narrows
    from narrows.tokenizers.windows import cut

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    tokenizer = narrows.load(model)
    if tokenizer.sample_rate != RATE:
        fail(f"{model} works at {tokenizer.sample_rate} Hz; this check needs a model at {RATE} Hz")
    x, _ = soundfile.read(path, dtype="float32")
    signal = torch.from_numpy(np.pad(x, (0, -len(x) % tokenizer.codec.stride)))
    with torch.inference_mode():
        whole = tokenizer.codec.encode(signal[None, None])  # (1, K, F)
    codes = tokenizer.encode_file(path).codes
    windows = len(list(cut(codes.shape[2], tokenizer.window, tokenizer.codec.encoder.reach)))
    record: dict[str, str | float | int] = {
        "check": "windows against whole",
        "seconds": len(x) / RATE,
        "windows": windows,
    }
    return {**record, "codes": whole.numel(), "different": int((codes != whole).sum())}


if __name__ == "__main__":
    run(main)
