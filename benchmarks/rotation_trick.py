"""Rotation trick against straight-through: codebook usage, quantization error, reconstruction error.

    python benchmarks/rotation_trick.py --data DIR

Two small autoencoders, of image crops and of speech spectra, each with an EMA codebook and with one trained by
gradient, with and without dead-code replacement. Initial weights and batches are the same.
DIR holds images/ and speech16k/, each with train/ and valid/.
"""

import argparse
from pathlib import Path

import torch
from common import emit, run, show
from small_codecs import WIDTH, load, scores, spread, trained

from narrows.codecs import VQ, EMACodebook, LearnedCodebook, RotationTrick, StraightThrough

CODEBOOKS = {"ema": EMACodebook, "learned": LearnedCodebook}
ESTIMATORS = {"straight-through": StraightThrough, "rotation-trick": RotationTrick}


def main() -> None:
    """Train and score every combination."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--dead-code-thresholds", type=float, nargs="+", default=[0.1, 0.0])
    parser.add_argument("--kinds", nargs="+", choices=("images", "speech"), default=["images", "speech"])
    parser.add_argument("--entries", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    if min(arguments.entries, arguments.steps, arguments.batch, arguments.seeds, arguments.threads) < 1:
        parser.error("all numbers must be at least 1")
    torch.set_num_threads(arguments.threads)

    records = []
    for kind in arguments.kinds:
        data = load(arguments.data, kind, train=4096, valid=1024)
        for codebook, book in CODEBOOKS.items():
            for threshold in arguments.dead_code_thresholds:
                for name, estimator in ESTIMATORS.items():

                    def make(book=book, threshold=threshold, estimator=estimator) -> VQ:  # type: ignore[no-untyped-def]
                        return VQ(WIDTH, book(8, arguments.entries, 0.97, dead_code_threshold=threshold), estimator())

                    runs = [
                        scores(trained(data, make, seed, arguments.steps, arguments.batch), data)
                        for seed in range(arguments.seeds)
                    ]
                    record: dict[str, object] = {"benchmark": "rotation_trick", "data": kind, "codebook": codebook}
                    record |= {"dead_code_threshold": threshold, "estimator": name, "entries": arguments.entries}
                    record |= {"steps": arguments.steps, "batch": arguments.batch, "seeds": arguments.seeds} | spread(
                        runs
                    )
                    records.append(record)
                    emit(record)
    columns = ["data", "codebook", "dead_code_threshold", "estimator", "usage", "perplexity", "quantization_mse"]
    show(records, [*columns, "reconstruction_db"])


if __name__ == "__main__":
    run(main)
