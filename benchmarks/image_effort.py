"""What `effort` in encoding gains: rate and PSNR of images with and without it, and PSNR gain at equal rate.

    python benchmarks/image_effort.py --model image --data DIR --quality 2 4 6 --effort 1 2

Rates count all bytes of the streams. The gain of an image is its PSNR with effort minus that of the same model without
effort at the same number of bytes, interpolated linearly over the logarithm of the rate.
"""

from pathlib import Path
from statistics import mean, median

import numpy as np
from common import argument_parser, emit, image_files, load_image_model, run, show, timed
from numpy.typing import NDArray

from narrows import ImageTokenizer
from narrows.media import image
from narrows.tokenizers.search import ITERATIONS

Point = tuple[float, float]  # bits per pixel, PSNR in dB
CURVE_STEP = 4  # quality indices between two points of the curve without effort


def main() -> None:
    """Code all images without and with effort."""
    parser = argument_parser(__doc__)
    parser.add_argument("--model", default="image", help="name or folder of an image model (default: image)")
    parser.add_argument("--data", type=Path, required=True, help="folder of images")
    parser.add_argument("--limit", type=int, help="only this many images, the first by name")
    parser.add_argument("--quality", type=float, nargs="+", default=[2, 4, 6], help="1 to 8 (default: 2 4 6)")
    parser.add_argument("--effort", type=int, nargs="+", default=[1, 2], help="1 to 5 (default: 1 2)")
    arguments = parser.parse_args()
    tokenizer = load_image_model(arguments.model)
    images = [image.read(path).pixels for path in image_files(arguments.data)[: arguments.limit]]
    indices = range(0, tokenizer.qualities, CURVE_STEP)
    curves = [[_coded(tokenizer, x, index, 0)[0] for index in indices] for x in images]
    records = []
    for quality in arguments.quality:
        index = tokenizer.quality_index(quality)
        for effort in [0, *arguments.effort]:
            coded = [_coded(tokenizer, x, index, effort) for x in images]
            gains = [_gain(curve, point) for curve, (point, _) in zip(curves, coded, strict=True)]
            records.append(
                {
                    "benchmark": "image_effort",
                    "model": arguments.model,
                    "fingerprint": tokenizer.fingerprint,
                    "images": len(images),
                    "quality": quality,
                    "effort": effort,
                    "iterations": ITERATIONS[effort],
                    "bits_per_pixel": mean(point[0] for point, _ in coded),
                    "psnr_db": mean(point[1] for point, _ in coded),
                    "gain_db": mean(gains),
                    "gain_db_min": min(gains),
                    "encode_median_s": median(seconds for _, seconds in coded),
                }
            )
            emit(records[-1])
    show(records, ["quality", "effort", "iterations", "bits_per_pixel", "psnr_db", "gain_db", "encode_median_s"])


def _coded(tokenizer: ImageTokenizer, x: NDArray[np.uint8], quality_index: int, effort: int) -> tuple[Point, float]:
    """Rate and PSNR of an image (C, H, W), and seconds that encoding took."""
    data, timing = timed(lambda: tokenizer.compress(tokenizer.encode_at(x, quality_index, effort)))
    error = np.square(tokenizer.decode_signal(data).pixels - x.astype(float)).mean()
    return (8 * len(data) / (x.shape[1] * x.shape[2]), float(10 * np.log10(255**2 / error))), timing.wall


def _gain(curve: list[Point], point: Point) -> float:
    """Decibels by which a point is above a curve at its rate."""
    rates, decibels = zip(*sorted(curve), strict=True)
    return point[1] - float(np.interp(np.log(point[0]), np.log(rates), decibels))


if __name__ == "__main__":
    run(main)
