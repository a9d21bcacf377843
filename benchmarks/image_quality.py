"""Bits on disk and PSNR of pictures, of narrows and of JPEG, WebP and AVIF, over a folder of pictures such as Kodak's.

    python benchmarks/image_quality.py --model image --data DIR

Prints one JSON object for each picture and quality of the model, for each operating point, and for each pair of codecs;
over 24 pictures, which are taken for Kodak's, also against published curves.
Needs scipy.
"""

import argparse
import csv
import multiprocessing
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from bd_rate import Curve, bd_rate
from common import emit, fail, run, show
from image_points import CLASSICAL, Classical, Narrows, Pixels, Point, loaded

from narrows.media import image

QUALITIES = {  # of the codecs that are compared with: about the rates of the model's qualities, and beyond
    "jpeg": (3, 5, 8, 12, 18, 25, 35, 50, 65, 78, 88, 94),
    "webp": (0, 5, 12, 20, 35, 50, 65, 78, 86, 92, 96),
    "avif": (12, 20, 30, 40, 50, 60, 70, 80, 88, 94),
}
PUBLISHED = {  # bits a pixel and dB over Kodak's 24 pictures: results in CompressAI's repository, headers not counted
    "factorized": ((0.123, 26.91), (0.189, 28.22), (0.288, 29.62), (0.440, 31.28), (0.648, 32.96), (0.967, 35.38)),
    "mbt2018-mean": ((0.124, 27.70), (0.198, 29.36), (0.307, 31.13), (0.461, 32.95), (0.662, 34.97), (0.914, 36.91)),
}
KODAK = 24  # pictures of the set that the published curves are of
LOSSLESS = frozenset({".png", ".tif", ".tiff", ".bmp"})  # what is measured has not been through a lossy codec before
Row = dict[str, str | int | float | None]  # one picture at one operating point


def main() -> None:
    """Measure the model and what it is compared with."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of lossless pictures, searched to its depth")
    parser.add_argument("--model", help="name or folder of a narrows model")
    parser.add_argument("--quality", type=float, nargs="+", default=list(range(1, 9)), help="of it (default: 1 to 8)")
    parser.add_argument("--against", nargs="*", default=list(CLASSICAL), choices=list(CLASSICAL), help="(default: all)")
    parser.add_argument("--limit", type=int, help="only the first pictures by name")
    parser.add_argument("--jobs", type=int, default=2, help="processes, of one thread each (default: 2)")
    parser.add_argument("--per-file", type=Path, metavar="CSV", help="write the numbers of every picture there")
    arguments = parser.parse_args()
    points: list[Point] = [Classical(kind, quality) for kind in arguments.against for quality in QUALITIES[kind]]
    if arguments.model is not None:
        for quality in arguments.quality:
            loaded(arguments.model).setting(quality)  # what is not on offer is told before hours of work
            points.append(Narrows(arguments.model, quality))
    if not points:
        parser.error("nothing to measure; give --model, --against or both")
    files = sorted(path for path in arguments.data.rglob("*") if path.suffix.lower() in LOSSLESS)[: arguments.limit]
    if not files:
        fail(f"{arguments.data} has no {', '.join(sorted(LOSSLESS))}; give a folder of pictures with --data")

    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.jobs, spawn, torch.set_num_threads, (1,)) as pool:
        rows = [row for of_file in pool.map(_measure, files, repeat(points)) for row in of_file]
    if arguments.per_file:
        with arguments.per_file.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    for row in rows:
        if row["table_bits"] is not None:
            emit({"benchmark": "image_quality"} | row | {"file_bits": 8 * row["file_bytes"]})
    records = [_summary(point, rows) for point in points]
    for record in records:
        emit(record)
    show(records, ["codec", "quality", "bits_per_pixel", "psnr_db", "file_over_tables", "file_over_densities"])
    if arguments.model is not None and len(arguments.quality) >= 4:
        ours = _curve(arguments.model, records)
        pairs = [_delta(arguments.model, ours, kind, _curve(kind, records)) for kind in arguments.against]
        if len(files) == KODAK:
            pairs += [_delta(arguments.model, ours, name, curve) for name, curve in PUBLISHED.items()]
        for pair in pairs:
            emit(pair)
        show(pairs, ["against", "bd_rate_percent", "from_db", "to_db"])


def _measure(path: Path, points: Sequence[Point]) -> list[Row]:
    """One row for each operating point of a picture."""
    pixels = image.read(path)
    rows: list[Row] = []
    for point in points:
        with tempfile.TemporaryDirectory() as folder:
            coded = point(pixels, Path(folder))
        row: Row = {"file": path.name, "codec": point.codec, "quality": point.quality}
        row |= {"pixels": pixels.shape[0] * pixels.shape[1], "file_bytes": coded.file_bytes}
        row |= {"psnr_db": psnr(pixels, coded.pixels)}
        rows.append(row | {"table_bits": coded.table_bits, "density_bits": coded.density_bits})
    return rows


def psnr(a: Pixels, b: Pixels) -> float:
    """Peak signal to noise ratio in dB, of all samples of all channels together."""
    error = float(np.square(a.astype(np.float64) - b).mean())
    return 10 * float(np.log10(255**2 / error)) if error else float("inf")


def _summary(point: Point, rows: Sequence[Row]) -> dict[str, object]:
    """Means over the pictures at one operating point: of bits a pixel, and of dB."""
    own = [row for row in rows if (row["codec"], row["quality"]) == (point.codec, point.quality)]
    record = {"benchmark": "image_quality", "codec": point.codec, "quality": point.quality, "files": len(own)}
    record["bits_per_pixel"] = mean(8 * row["file_bytes"] / row["pixels"] for row in own)
    record["psnr_db"] = mean(row["psnr_db"] for row in own)
    if isinstance(point, Narrows):
        record["file_over_tables"] = mean(8 * row["file_bytes"] / row["table_bits"] for row in own)
        record["file_over_densities"] = mean(8 * row["file_bytes"] / row["density_bits"] for row in own)
    return record


def _curve(codec: str, records: Sequence[dict[str, object]]) -> list[tuple[float, float]]:
    """Bits a pixel and dB of a codec's operating points."""
    return [(record["bits_per_pixel"], record["psnr_db"]) for record in records if record["codec"] == codec]


def _delta(model: str, ours: Curve, against: str, curve: Curve) -> dict[str, object]:
    """The BD-rate of a model against another codec."""
    percent, low, high = bd_rate(curve, ours)
    pair = {"benchmark": "image_quality", "codec": model, "against": against}
    return pair | {"bd_rate_percent": percent, "from_db": low, "to_db": high}


if __name__ == "__main__":
    run(main)
