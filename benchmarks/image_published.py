"""BD-rate of measured codecs against published curves over Kodak's 24 pictures.

    codec evaluate -m image@all --data KODAK -o report && python benchmarks/image_published.py report/results.json

Prints one JSON object for each pair. The curves are those in CompressAI's repository: bits that its models and others
take for the pictures; those of its models count no headers.
"""

import argparse
import json
from pathlib import Path

from common import emit, fail, run, show

from narrows.evaluation.curves import LEAST_POINTS, Curve, bd_rate
from narrows.evaluation.results import Results

KODAK = 24  # pictures of the set
PUBLISHED = Path(__file__).parents[1] / "tests" / "evaluation" / "kodak_curves.json"
ANCHORS = ("bpg444", "factorized", "hyperprior", "mbt2018-mean", "vtm")


def main() -> None:
    """Compare every codec in a file of results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="results.json of codec evaluate, with the metric psnr")
    results = Results.read(parser.parse_args().results)
    if results.medium != "image" or len(results.items) != KODAK:
        fail(f"results of {len(results.items)} items of {results.medium} given; Kodak's {KODAK} pictures are wanted")
    published, pairs = json.loads(PUBLISHED.read_text()), []
    for family in results.families:
        told = [one for one in results.summary() if one.point.family == family and one.rate and "psnr" in one.metrics]
        if len(told) < LEAST_POINTS:
            continue
        curve = Curve([one.rate.mean for one in told], [one.metrics["psnr"].mean for one in told])
        for name in ANCHORS:
            delta = bd_rate(Curve(published[name]["bpp"], published[name]["psnr"]), curve)
            if delta is not None:
                pair = {"codec": family, "against": name, "bd_rate_percent": delta.change, "overlap": delta.overlap}
                pairs.append({"benchmark": "image_published"} | pair)
                emit(pairs[-1])
    show(pairs, ["codec", "against", "bd_rate_percent", "overlap"])


if __name__ == "__main__":
    run(main)
