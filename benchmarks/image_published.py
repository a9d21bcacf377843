"""BD-rate of measured codecs against published curves over the 24 Kodak images.

    codec evaluate -m image@all --data KODAK -o report && python benchmarks/image_published.py report/results.json

Prints one JSON object per pair. The curves are those in CompressAI's repository, of its models and of other codecs;
the bits of its models do not include headers.
"""

import json
from pathlib import Path

from common import argument_parser, emit, fail, run, show

from narrows.evaluation.curves import MIN_POINTS, Curve, bd_rate
from narrows.evaluation.result_files import read_results

KODAK = 24  # images of the set
PUBLISHED = Path(__file__).parents[1] / "tests" / "evaluation" / "kodak_curves.json"
ANCHORS = ("bpg444", "factorized", "hyperprior", "mbt2018-mean", "vtm")


def main() -> None:
    """Compare every codec in a results file with every published curve."""
    parser = argument_parser(__doc__)
    parser.add_argument("results", type=Path, help="results.json of codec evaluate with the metric psnr")
    results = read_results(parser.parse_args().results)
    if results.medium != "image" or len(results.items) != KODAK:
        fail(f"expected results of Kodak's {KODAK} images, got {len(results.items)} items of {results.medium}")
    published, pairs = json.loads(PUBLISHED.read_text()), []
    for family in results.families:
        of_family = [s for s in results.summaries() if s.point.family == family and "psnr" in s.metrics]
        points = [(s.rate.mean, s.metrics["psnr"].mean) for s in of_family if s.rate]
        if len(points) < MIN_POINTS:
            continue
        curve = Curve(*zip(*points, strict=True))
        for name in ANCHORS:
            delta = bd_rate(Curve(published[name]["bpp"], published[name]["psnr"]), curve)
            if delta is not None:
                pair = {"codec": family, "against": name, "bd_rate_percent": delta.change, "overlap": delta.overlap}
                pairs.append({"benchmark": "image_published"} | pair)
                emit(pairs[-1])
    show(pairs, ["codec", "against", "bd_rate_percent", "overlap"])


if __name__ == "__main__":
    run(main)
