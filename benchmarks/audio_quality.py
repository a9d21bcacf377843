"""Bits on disk and quality of speech, of narrows and of Opus, over a folder of recordings.

    python benchmarks/audio_quality.py --model speech --codebooks 6 3 --opus 6 8 12 --data DIR

Prints one JSON object for each operating point. Needs the extra `speech` (pesq, pystoi).
"""

import argparse
import csv
import multiprocessing
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from audio_points import RATE, Narrows, Opus, Point, Signal, loaded
from common import emit, run, show, sound_files
from speech_metrics import METRICS, aligned, scores

RESAMPLES, SEED = 10_000, 0  # of the bootstrap
Row = dict[str, str | int | float | None]  # one file at one operating point


def main() -> None:
    """Measure the operating points asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of .wav or .flac files, searched to its depth")
    parser.add_argument("--model", help="name or folder of a narrows model")
    parser.add_argument("--codebooks", type=int, nargs="+", help="numbers of codebooks to keep (default: all of them)")
    parser.add_argument("--opus", type=float, nargs="+", default=[], metavar="KBPS", help="nominal kbit/s of Opus")
    parser.add_argument("--application", nargs="+", default=["audio"], choices=["audio", "voip"], help="of Opus")
    parser.add_argument("--limit", type=int, help="only the first files by name")
    parser.add_argument("--jobs", type=int, default=2, help="processes, of one thread each (default: 2)")
    parser.add_argument("--per-file", type=Path, metavar="CSV", help="write the numbers of every file there")
    arguments = parser.parse_args()
    points = _points(arguments.model, arguments.codebooks, arguments.opus, arguments.application)
    if not points:
        parser.error("nothing to measure; give --model, --opus or both")
    files = sound_files(arguments.data)[: arguments.limit]

    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.jobs, spawn, torch.set_num_threads, (1,)) as pool:
        rows = [row for of_file in pool.map(_measure, files, repeat(points)) for row in of_file]
    if arguments.per_file:
        with arguments.per_file.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    records = [_summary(point, [row for row in rows if row["point"] == point.name]) for point in points]
    for record in records:
        emit(record)
    show(records, ["point", "file_kbps_total", "payload_kbps_total", *METRICS, "delay_median"])
    failures = {name: sum(row[name] is None for row in rows) for name in METRICS}
    if any(failures.values()):
        print(f"failed and left out: {', '.join(f'{name} {n}' for name, n in failures.items() if n)}", file=sys.stderr)


def _points(
    model: str | None, codebooks: Sequence[int] | None, opus: Sequence[float], modes: Sequence[str]
) -> list[Point]:
    points: list[Point] = [Opus(kbps, mode) for mode in modes for kbps in opus]
    if model is None:
        return points
    return [Narrows(model, k) for k in codebooks or [loaded(model).codebooks]] + points


def _measure(path: Path, points: Sequence[Point]) -> list[Row]:
    """One row for each operating point of a file."""
    reference = _read(path)
    rows: list[Row] = []
    for point in points:
        with tempfile.TemporaryDirectory() as folder:
            coded = point(reference, Path(folder))
        x, delay = aligned(coded.x, reference)
        row: Row = {"file": path.name, "point": point.name, "seconds": len(reference) / RATE}
        row |= {"file_bytes": coded.file_bytes, "payload_bytes": coded.payload_bytes, "delay": delay}
        rows.append({**row, **scores(reference, x)})
    return rows


def _read(path: Path) -> Signal:
    """A recording as the mean of its channels (T,) at 16 kHz."""
    x, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono: Signal = x.mean(1)
    return mono if rate == RATE else soxr.resample(mono, rate, RATE, quality="VHQ")


def _summary(point: Point, rows: Sequence[Row]) -> dict[str, object]:
    """Rates and means over the files at one operating point."""
    seconds = _column(rows, "seconds")
    record: dict[str, object] = {"benchmark": "audio_quality", "point": point.name}
    if isinstance(point, Narrows):
        record["nominal_kbps"] = loaded(point.model).bitrate(point.codebooks) / 1000
    if isinstance(point, Opus):
        record["nominal_kbps"] = point.kbps
    record |= {"files": len(rows), "seconds": seconds.sum()}
    for kind in ("file", "payload"):
        bits = _column(rows, f"{kind}_bytes") * 8 / 1000
        known = len(bits) == len(rows)
        record[f"{kind}_kbps_mean"] = float((bits / seconds).mean()) if known else None
        record[f"{kind}_kbps_total"] = float(bits.sum() / seconds.sum()) if known else None
    delays = _column(rows, "delay")
    record |= {"delay_median": float(np.median(delays)), "delay_min": delays.min(), "delay_max": delays.max()}
    return record | {name: _interval(_column(rows, name), len(rows)) for name in METRICS}


def _column(rows: Sequence[Row], name: str) -> np.ndarray:
    """The values of a column (n,) that are there, float64."""
    return np.array([row[name] for row in rows if row[name] is not None], dtype=np.float64)


def _interval(values: np.ndarray, files: int) -> dict[str, float | int | None]:
    """Mean of the values and its 95 % bootstrap interval over files; how many files failed."""
    if len(values) == 0:
        return {"mean": None, "low": None, "high": None, "failed": files}
    chosen = np.random.default_rng(SEED).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.quantile(values[chosen].mean(1), (0.025, 0.975))
    return {"mean": float(values.mean()), "low": float(low), "high": float(high), "failed": files - len(values)}


if __name__ == "__main__":
    run(main)
