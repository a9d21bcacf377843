"""What effort in encoding brings: rate and PSNR of pictures with and without it, and decibels gained at equal rate.

    python benchmarks/image_effort.py --model image --data DIR --quality 2 4 6 --effort 1 2

Rates are all bytes of the streams. The gain of a picture is its PSNR with effort over that of the same model without
any, at the same number of bytes, between whose settings the logarithm of the rate is interpolated linearly.
"""

import argparse
import time
from pathlib import Path
from statistics import mean, median

import numpy as np
from common import emit, fail, run, show

import narrows
from narrows import ImageTokenizer
from narrows.media import image
from narrows.tokenizers.search import ROUNDS

Point = tuple[float, float]  # bits a pixel, PSNR in dB
EVERY = 4  # settings from one point of the curve without effort to the next


def main() -> None:
    """Code all pictures without and with effort."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="image", help="name or folder of an image model (default: image)")
    parser.add_argument("--data", type=Path, required=True, help="folder of pictures")
    parser.add_argument("--pictures", type=int, help="only the first so many, sorted by name")
    parser.add_argument("--quality", type=float, nargs="+", default=[2, 4, 6], help="1 to 8 (default: 2 4 6)")
    parser.add_argument("--effort", type=int, nargs="+", default=[1, 2], help="1 to 5 (default: 1 2)")
    arguments = parser.parse_args()
    tokenizer = narrows.load(arguments.model)
    if not isinstance(tokenizer, ImageTokenizer):
        fail(f"{arguments.model} is no model of images")
    paths = sorted(path for path in arguments.data.rglob("*") if path.suffix.lower() in image.SUFFIXES)
    if not paths:
        fail(f"{arguments.data} has no pictures; give a folder of them with --data")
    pictures = [image.read(path).pixels for path in paths[: arguments.pictures]]
    curves = [
        [_coded(tokenizer, x, setting, 0)[0] for setting in range(0, tokenizer.qualities, EVERY)] for x in pictures
    ]
    records = []
    for quality in arguments.quality:
        setting = tokenizer.quality_index(quality)
        for effort in [0, *arguments.effort]:
            coded = [_coded(tokenizer, x, setting, effort) for x in pictures]
            gains = [_gain(curve, point) for curve, (point, _) in zip(curves, coded, strict=True)]
            records.append(
                {
                    "benchmark": "image_effort",
                    "model": arguments.model,
                    "fingerprint": tokenizer.fingerprint,
                    "pictures": len(pictures),
                    "quality": quality,
                    "effort": effort,
                    "rounds": ROUNDS[effort],
                    "bits_per_pixel": mean(point[0] for point, _ in coded),
                    "psnr_db": mean(point[1] for point, _ in coded),
                    "gain_db": mean(gains),
                    "gain_db_least": min(gains),
                    "encode_median_s": median(seconds for _, seconds in coded),
                }
            )
            emit(records[-1])
    show(records, ["quality", "effort", "rounds", "bits_per_pixel", "psnr_db", "gain_db", "encode_median_s"])


def _coded(tokenizer: ImageTokenizer, x: image.Pixels, setting: int, effort: int) -> tuple[Point, float]:
    """Rate and PSNR of a picture (C, H, W), and seconds that encoding took."""
    begin = time.perf_counter()
    data = tokenizer.compress(tokenizer.encode_at(x, setting, effort))
    seconds = time.perf_counter() - begin
    error = np.square(tokenizer.open(data)[1] - x.astype(float)).mean()
    return (8 * len(data) / (x.shape[1] * x.shape[2]), float(10 * np.log10(255**2 / error))), seconds


def _gain(curve: list[Point], point: Point) -> float:
    """Decibels of a point over a curve at its rate."""
    rates, decibels = zip(*sorted(curve), strict=True)
    return point[1] - float(np.interp(np.log(point[0]), np.log(rates), decibels))


if __name__ == "__main__":
    run(main)
