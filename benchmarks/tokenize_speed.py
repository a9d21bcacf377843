"""Speed of `codec tokenize` against plain Python loops: one file at a time, codes saved with NumPy.

    python benchmarks/tokenize_speed.py --model speech --data DIR

200 files of 1 to 20 seconds are cut from a folder of recordings. Each method runs in a fresh process; the methods take
turns (A B C A B C ...). process_s is the time of the whole process with its imports. wall_s excludes imports; it
includes the start of the workers of `codec tokenize`, and excludes loading the model in the loops. working_x_realtime
is the speed of the workers of `codec tokenize` while they work, without their start.
EnCodec 24 kHz of transformers has its published architecture and random weights, on which its speed does not depend. It
codes only the first files, and is compared by seconds of audio per second of wall_s.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from itertools import cycle
from pathlib import Path
from typing import Any

import soundfile
from common import (
    argument_parser,
    audio_files,
    check_positive,
    codec_script,
    emit,
    fail,
    load_audio_model,
    measured_json,
    random_encodec,
    ratios,
    run,
    show,
)

SEED = 0
SHORTEST, LONGEST = 1.0, 20.0  # seconds
ENCODEC_KBPS = 6.0  # 8 codebooks


def main() -> None:
    """Make the files, then run the methods in turns."""
    parser = argument_parser(__doc__)
    parser.add_argument("--model", default="speech", help="name or folder of a narrows model (default: speech)")
    parser.add_argument("--data", type=Path, required=True, help="folder of recordings to cut from")
    parser.add_argument("--files", type=int, default=200, help="number of files to make (default: 200)")
    parser.add_argument("--encodec-files", type=int, default=12, help="of these, files for EnCodec (default: 12)")
    parser.add_argument("--rounds", type=int, default=3, help="turns (default: 3)")
    parser.add_argument("--workers", type=int, default=2, help="workers, and threads of the loops (default: 2)")
    parser.add_argument("--shard-minutes", type=float, default=2, help="minutes of media per shard (default: 2)")
    parser.add_argument("--loop", choices=_LOOPS, help=argparse.SUPPRESS)  # in a fresh process
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    check_positive(parser, arguments, "files", "encodec_files", "rounds", "workers")
    if arguments.loop:
        print(json.dumps(_LOOPS[arguments.loop](arguments)))
        return

    settings = {"benchmark": "tokenize_speed", "model": arguments.model, "workers": arguments.workers}
    records: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        files, total = Path(folder) / "files", arguments.files
        _make(files, arguments.data, total)
        for number in range(arguments.rounds):
            for method in ("codec tokenize", *_LOOPS):
                out = Path(folder) / f"{method}-{number}"
                result = _run(method, arguments, files, out)
                records.append(settings | {"method": method, "round": number} | result)
                emit(records[-1])
    times = ["audio_s", "process_s", "wall_s", "x_realtime", "working_x_realtime", "network_fraction", "peak_mib"]
    show(records, ["method", "round", *times])
    compared = [settings | {"ratio": f"codec tokenize / {loop}"} | _ratios(records, loop) for loop in _LOOPS]
    for ratio in compared:
        emit(ratio)
    show(compared, ["ratio", "median", "min", "max", "working_median", "process_median"])


def _run(method: str, arguments: argparse.Namespace, files: Path, out: Path) -> dict[str, Any]:
    if method == "codec tokenize":
        return _codec_tokenize(arguments, files, out)
    os.environ["OMP_NUM_THREADS"] = str(arguments.workers)
    command = [sys.executable, __file__, f"--loop={method}", f"--model={arguments.model}", f"--data={files}"]
    command += [f"--out={out}", f"--workers={arguments.workers}", f"--encodec-files={arguments.encodec_files}"]
    cost, result = measured_json(command)
    return result | {"peak_mib": cost.peak_mib, "process_s": cost.wall_seconds}


def _codec_tokenize(arguments: argparse.Namespace, files: Path, out: Path) -> dict[str, Any]:
    os.environ["OMP_NUM_THREADS"] = "1"
    command = [codec_script(), "tokenize", str(files), "-m", arguments.model, "-o", str(out), "--json"]
    command += ["--workers", str(arguments.workers), "--shard-minutes", str(arguments.shard_minutes)]
    cost, summary = measured_json(command)
    result = _speed(summary["amount"], summary["seconds"])
    result |= {"working_x_realtime": arguments.workers * summary["amount"] / summary["worker_seconds"]}
    return result | {
        "network_fraction": summary["network_fraction"],
        "peak_mib": cost.peak_mib,
        "process_s": cost.wall_seconds,
    }


def _make(folder: Path, data: Path, count: int) -> None:
    """Make files of random lengths (fixed seed) from consecutive recordings, which are repeated if necessary."""
    rng, sources = random.Random(SEED), cycle(audio_files(data))
    folder.mkdir()
    for number in range(count):
        seconds = rng.uniform(SHORTEST, LONGEST)
        with soundfile.SoundFile(folder / f"{number:04d}.flac", "w", *_format(next(sources)), "PCM_16") as file:
            left = round(seconds * file.samplerate)
            while left:
                x, sample_rate = soundfile.read(next(sources), dtype="float32", always_2d=True)
                if len(x) == 0 or (sample_rate, x.shape[1]) != (file.samplerate, file.channels):
                    fail(f"expected recordings of one sample rate and channel count in {data}, got several")
                file.write(x[:left])
                left -= min(left, len(x))


def _format(path: Path) -> tuple[int, int]:
    """Sample rate and number of channels."""
    info = soundfile.info(path)
    return info.samplerate, info.channels


def _loop(arguments: argparse.Namespace) -> dict[str, float]:
    """Read, resample, encode and save one file after another, with the same model."""
    import numpy as np
    import soxr
    import torch

    torch.set_num_threads(arguments.workers)
    tokenizer = load_audio_model(arguments.model)
    arguments.out.mkdir()
    seconds, begin = 0.0, time.perf_counter()
    for path in audio_files(arguments.data):
        x, sample_rate = soundfile.read(path, dtype="float32", always_2d=True)
        seconds += len(x) / sample_rate
        if sample_rate != tokenizer.sample_rate:
            x = soxr.resample(x, sample_rate, tokenizer.sample_rate)
        tokens = tokenizer.encode(x.T, tokenizer.sample_rate)
        np.save(arguments.out / f"{path.stem}.npy", tokens.codes.numpy().astype(np.int16))
    return _speed(seconds, time.perf_counter() - begin)


def _encodec(arguments: argparse.Namespace) -> dict[str, float]:
    """The same loop with EnCodec 24 kHz."""
    import numpy as np
    import torch
    import torchaudio

    torch.set_num_threads(arguments.workers)
    model = random_encodec(SEED)
    arguments.out.mkdir()
    seconds, begin = 0.0, time.perf_counter()
    with torch.inference_mode():
        for path in audio_files(arguments.data)[: arguments.encodec_files]:
            x, sample_rate = soundfile.read(path, dtype="float32", always_2d=True)
            seconds += len(x) / sample_rate
            wave = torchaudio.functional.resample(torch.from_numpy(x.T), sample_rate, model.config.sampling_rate)
            codes = model.encode(wave.unsqueeze(1), bandwidth=ENCODEC_KBPS).audio_codes
            np.save(arguments.out / f"{path.stem}.npy", codes.numpy().astype(np.int16))
    return _speed(seconds, time.perf_counter() - begin)


_LOOPS = {"loop": _loop, "encodec": _encodec}


def _speed(seconds: float, wall: float) -> dict[str, float]:
    """Seconds of audio, wall seconds, and their ratio."""
    return {"audio_s": seconds, "wall_s": wall, "x_realtime": seconds / wall}


def _ratios(records: list[dict[str, Any]], loop: str) -> dict[str, float]:
    """How many times faster `codec tokenize` is than a loop, round by round."""

    def series(method: str, key: str) -> list[float]:
        return [record[key] for record in records if record["method"] == method]

    slow = series(loop, "x_realtime")
    result = ratios(series("codec tokenize", "x_realtime"), slow)
    result["working_median"] = ratios(series("codec tokenize", "working_x_realtime"), slow)["median"]
    if loop == "loop":  # the same files
        result["process_median"] = ratios(series(loop, "process_s"), series("codec tokenize", "process_s"))["median"]
    return result


if __name__ == "__main__":
    run(main)
