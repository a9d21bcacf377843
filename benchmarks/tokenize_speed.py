"""Speed of `tokenize` against the loops that people write today: one file at a time, codes saved by NumPy.

    python benchmarks/tokenize_speed.py --model speech --data DIR

200 files of 1 to 20 seconds are cut from a folder of recordings. Each way runs in a fresh process; the ways take turns
(A B C A B C ...). Two times are told: process_s of the whole process, with its imports; and wall_s without them, of
`codec tokenize` with the start of its workers, of the loops from after the loading of the model on.
Ours is told a third time without the start: working, the same work at the rate of its workers while they work.
EnCodec 24 kHz of transformers has its published shape and random weights, on which its speed does not depend; it takes
the first few files, and is compared by seconds of sound a second of wall_s.
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
from statistics import median
from typing import Any

import soundfile
from common import codec_script, emit, fail, measured, run, show, sound_files

SEED = 0
SHORTEST, LONGEST = 1.0, 20.0  # seconds
KBPS = 6.0  # of EnCodec: 8 codebooks


def main() -> None:
    """Make the files, then run the ways in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="speech", help="name or folder of a narrows model (default: speech)")
    parser.add_argument("--data", type=Path, required=True, help="folder of recordings to cut from")
    parser.add_argument("--files", type=int, default=200, help="how many to make (default: 200)")
    parser.add_argument("--encodec-files", type=int, default=12, help="of those, for EnCodec (default: 12)")
    parser.add_argument("--rounds", type=int, default=3, help="turns (default: 3)")
    parser.add_argument("--workers", type=int, default=2, help="of ours, and threads of the loops (default: 2)")
    parser.add_argument("--shard-minutes", type=float, default=2, help="of ours (default: 2)")
    parser.add_argument("--way", choices=_LOOPS, help=argparse.SUPPRESS)  # in a fresh process
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        print(json.dumps(_LOOPS[arguments.way](arguments)))
        return
    if min(arguments.files, arguments.encodec_files, arguments.rounds, arguments.workers) < 1:
        parser.error("--files, --encodec-files, --rounds and --workers must be at least 1")

    setting = {"benchmark": "tokenize_speed", "model": arguments.model, "workers": arguments.workers}
    records: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        files, total = Path(folder) / "files", arguments.files
        _make(files, arguments.data, total)
        for number in range(arguments.rounds):
            for way in ("ours", *_LOOPS):
                out = Path(folder) / f"{way}-{number}"
                told = _run(way, arguments, files, out)
                records.append(setting | {"way": way, "round": number} | told)
                emit(records[-1])
    show(
        records,
        ["way", "round", "sound_s", "process_s", "wall_s", "x_realtime", "working_x_realtime", "busy", "peak_mib"],
    )
    ratios = [setting | {"ratio": f"ours / {way}"} | _ratios(records, way) for way in _LOOPS]
    for ratio in ratios:
        emit(ratio)
    show(ratios, ["ratio", "median", "min", "max", "working_median", "process_median"])


def _run(way: str, arguments: argparse.Namespace, files: Path, out: Path) -> dict[str, Any]:
    if way == "ours":
        return _ours(arguments, files, out)
    os.environ["OMP_NUM_THREADS"] = str(arguments.workers)
    given = [f"--model={arguments.model}", f"--data={files}", f"--out={out}", f"--workers={arguments.workers}"]
    given += [f"--encodec-files={arguments.encodec_files}"]
    cost, printed = measured([sys.executable, __file__, f"--way={way}", *given])
    return json.loads(printed.splitlines()[-1]) | {"peak_mib": cost.peak_mib, "process_s": cost.wall_seconds}


def _ours(arguments: argparse.Namespace, files: Path, out: Path) -> dict[str, Any]:
    """The command itself."""
    os.environ["OMP_NUM_THREADS"] = "1"
    command = [codec_script(), "tokenize", str(files), "-m", arguments.model, "-o", str(out), "--json"]
    command += ["--workers", str(arguments.workers), "--shard-minutes", str(arguments.shard_minutes)]
    cost, printed = measured(command)
    told = json.loads(printed)
    working = arguments.workers * told["amount"] / told["working"]
    speeds = {"working_x_realtime": working, "busy": told["busy"]}
    return _told(told["amount"], told["wall"]) | speeds | {"peak_mib": cost.peak_mib, "process_s": cost.wall_seconds}


def _make(folder: Path, data: Path, count: int) -> None:
    """Files of a deterministic length, cut from recordings one after another, which are repeated where too short."""
    chance, sources = random.Random(SEED), cycle(sound_files(data))
    folder.mkdir()
    for number in range(count):
        wanted = chance.uniform(SHORTEST, LONGEST)
        with soundfile.SoundFile(folder / f"{number:04d}.flac", "w", *_form(next(sources)), "PCM_16") as file:
            left = round(wanted * file.samplerate)
            while left:
                x, rate = soundfile.read(next(sources), dtype="float32", always_2d=True)
                if len(x) == 0 or (rate, x.shape[1]) != (file.samplerate, file.channels):
                    fail(f"recordings of one rate and channel count wanted in {data}")
                file.write(x[:left])
                left -= min(left, len(x))


def _form(path: Path) -> tuple[int, int]:
    info = soundfile.info(path)
    return info.samplerate, info.channels


def _loop(arguments: argparse.Namespace) -> dict[str, float]:
    """Load, resample, encode, save, with the same model."""
    import numpy as np
    import soxr
    import torch

    import narrows

    torch.set_num_threads(arguments.workers)
    tokenizer = narrows.load(arguments.model)
    arguments.out.mkdir()
    seconds, begin = 0.0, time.perf_counter()
    for path in sound_files(arguments.data):
        x, rate = soundfile.read(path, dtype="float32", always_2d=True)
        seconds += len(x) / rate
        if rate != tokenizer.sample_rate:
            x = soxr.resample(x, rate, tokenizer.sample_rate)
        tokens = tokenizer.encode(x.T, tokenizer.sample_rate)
        np.save(arguments.out / f"{path.stem}.npy", tokens.codes.numpy().astype(np.int16))
    return _told(seconds, time.perf_counter() - begin)


def _encodec(arguments: argparse.Namespace) -> dict[str, float]:
    """The same loop with EnCodec 24 kHz."""
    import numpy as np
    import torch
    import torchaudio
    from transformers import EncodecConfig, EncodecModel

    torch.set_num_threads(arguments.workers)
    torch.manual_seed(SEED)
    model: Any = EncodecModel(EncodecConfig()).eval()  # type: ignore[no-untyped-call]
    arguments.out.mkdir()
    seconds, begin = 0.0, time.perf_counter()
    with torch.inference_mode():
        for path in sound_files(arguments.data)[: arguments.encodec_files]:
            x, rate = soundfile.read(path, dtype="float32", always_2d=True)
            seconds += len(x) / rate
            wave = torchaudio.functional.resample(torch.from_numpy(x.T), rate, model.config.sampling_rate)
            codes = model.encode(wave.unsqueeze(1), bandwidth=KBPS).audio_codes
            np.save(arguments.out / f"{path.stem}.npy", codes.numpy().astype(np.int16))
    return _told(seconds, time.perf_counter() - begin)


_LOOPS = {"loop": _loop, "encodec": _encodec}


def _told(seconds: float, wall: float) -> dict[str, float]:
    return {"sound_s": seconds, "wall_s": wall, "x_realtime": seconds / wall}


def _ratios(records: list[dict[str, Any]], way: str) -> dict[str, float]:
    """How many times faster ours is, round by round."""
    pairs = [[r for r in records if r["way"] == name] for name in ("ours", way)]
    whole = [ours["x_realtime"] / theirs["x_realtime"] for ours, theirs in zip(*pairs, strict=True)]
    working = [ours["working_x_realtime"] / theirs["x_realtime"] for ours, theirs in zip(*pairs, strict=True)]
    told = {"median": median(whole), "min": min(whole), "max": max(whole), "working_median": median(working)}
    if way == "loop":  # the same files
        told["process_median"] = median(
            theirs["process_s"] / ours["process_s"] for ours, theirs in zip(*pairs, strict=True)
        )
    return told


if __name__ == "__main__":
    run(main)
