"""Peak memory of encoding and decoding a minute and an hour, and whether windows give the codes of the whole.

    python benchmarks/audio_memory.py --model speech --data DIR

Every step runs in a fresh process. The recordings are made once, in a temporary folder that is removed at the end.
"""

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
import soundfile
import soxr
from common import (
    LOAD,
    argument_parser,
    audio_files,
    check_positive,
    codec_script,
    emit,
    fail,
    load_audio_model,
    measured,
    run,
    show,
)
from numpy.typing import NDArray

SAMPLE_RATE = 16_000  # Hz
ENCODE_FILE = "import sys, narrows; narrows.load(sys.argv[1]).encode_file(sys.argv[2])"


def main() -> None:
    """Measure the steps for each duration, then compare windows with the whole on the shortest."""
    parser = argument_parser(__doc__)
    parser.add_argument("--model", default="speech", help="name or folder of a narrows model (default: speech)")
    parser.add_argument("--data", type=Path, help="folder of speech to repeat (default: tones in noise)")
    parser.add_argument("--seconds", type=int, nargs="+", default=[60, 3600], help="durations (default: 60 3600)")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (default: 2)")
    arguments = parser.parse_args()
    check_positive(parser, arguments, "seconds", "threads")
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)  # for the child processes

    settings = {"benchmark": "audio_memory", "model": arguments.model, "threads": arguments.threads}
    durations = sorted(set(arguments.seconds))
    with tempfile.TemporaryDirectory() as folder:
        recordings = {seconds: Path(folder) / f"{seconds}.wav" for seconds in durations}
        for seconds, path in recordings.items():
            _write_recording(path, seconds, arguments.data)
        records = [settings | {"step": "load"} | _cost([sys.executable, "-c", LOAD, arguments.model], 0)]
        for seconds, path in recordings.items():
            for step, command in _steps(arguments.model, path).items():
                records.append(settings | {"step": step} | _cost(command, seconds))
        for record in records:
            emit(record)
        for step in dict.fromkeys(record["step"] for record in records[1:]):
            peaks = [record["peak_mib"] for record in records if record["step"] == step]
            growth = {"growth_of": step, "from_s": durations[0], "to_s": durations[-1], "mib": peaks[-1] - peaks[0]}
            emit(settings | growth)
        show(records, ["step", "seconds", "peak_mib", "wall_s", "cpu_s", "x_realtime_wall"])
        check = settings | _windows_against_whole(arguments.model, recordings[durations[0]])
        emit(check)
        counts = f"{check['different']} of {check['codes']} codes differ in {check['windows']} windows"
        print(f"windows against whole, {durations[0]} s: {counts}", file=sys.stderr)


def _steps(model: str, path: Path) -> dict[str, list[str]]:
    """The commands for one recording, in the order in which they must run."""
    codec, stream, decoded = codec_script(), path.with_suffix(".nrw"), path.with_suffix(".decoded.wav")
    return {
        "encode_file": [sys.executable, "-c", ENCODE_FILE, model, str(path)],
        "codec encode": [codec, "encode", str(path), "-m", model, "-o", str(stream)],
        "codec decode": [codec, "decode", str(stream), "-m", model, "-o", str(decoded)],
    }


def _cost(command: Sequence[str], seconds: int) -> dict[str, float | int | None]:
    """Peak memory and times of a command for a recording of this duration."""
    cost, _ = measured(command)
    speed = seconds / cost.wall_seconds if seconds else None  # includes the start of the program
    times = {"wall_s": cost.wall_seconds, "cpu_s": cost.cpu_seconds, "x_realtime_wall": speed}
    return {"seconds": seconds, "peak_mib": cost.peak_mib, **times}


def _write_recording(path: Path, seconds: int, data: Path | None) -> None:
    """Write a 16-bit WAV file of this duration, block by block."""
    left = seconds * SAMPLE_RATE
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, "PCM_16") as file:
        for block in _tones_in_noise() if data is None else _speech(data):
            file.write(block[:left])
            left -= min(left, len(block))
            if not left:
                return


def _tones_in_noise() -> Iterator[NDArray[np.float32]]:
    """Endless blocks of one second: a gliding tone with overtones in noise."""
    random, time = np.random.default_rng(0), np.arange(SAMPLE_RATE) / SAMPLE_RATE
    for second in cycle(range(60)):
        tone = sum(np.sin(2 * np.pi * (100 + 2 * second) * n * time) / n for n in range(1, 8))
        yield (0.1 * tone + 0.02 * random.standard_normal(SAMPLE_RATE)).astype(np.float32)


def _speech(data: Path) -> Iterator[NDArray[np.float32]]:
    """The recordings of a folder, one after another and repeated, at 16 kHz."""
    for path in cycle(audio_files(data)):
        x, sample_rate = soundfile.read(path, dtype="float32", always_2d=True)
        if len(x) == 0:
            fail(f"expected recordings with samples, got none in {path}; remove it from {data}")
        yield soxr.resample(x.mean(1), sample_rate, SAMPLE_RATE)


def _windows_against_whole(model: str, path: Path) -> dict[str, str | float | int]:
    """How many codes of a file differ between the windows of `encode_file` and one pass over all of it."""
    import torch  # only now: the memory of a process is counted for its children too

    from narrows.tokenizers.windows import cut

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    tokenizer = load_audio_model(model)
    if tokenizer.sample_rate != SAMPLE_RATE:
        fail(f"expected a model at {SAMPLE_RATE} Hz for this check, got {model} at {tokenizer.sample_rate} Hz")
    x, _ = soundfile.read(path, dtype="float32")
    (stride,), (reach,) = tokenizer.codec.stride, tokenizer.codec.encoder.reach
    signal = torch.from_numpy(np.pad(x, (0, -len(x) % stride)))
    with torch.inference_mode():
        whole = tokenizer.codec.encode(signal[None, None])  # (1, K, F)
    codes = tokenizer.encode_file(path).codes
    return {
        "check": "windows against whole",
        "seconds": len(x) / SAMPLE_RATE,
        "windows": len(list(cut(codes.shape[2], tokenizer.window, reach))),
        "codes": whole.numel(),
        "different": int((codes != whole).sum()),
    }


if __name__ == "__main__":
    run(main)
