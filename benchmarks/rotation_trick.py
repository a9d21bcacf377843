"""Rotation trick against straight-through: codebook usage, quantization error, reconstruction error.

    python benchmarks/rotation_trick.py --data DIR

Two small autoencoders, of image crops and of speech spectra, each with an EMA codebook and with one trained by
gradient, with and without dead-code replacement. Initial weights and batches are the same.
DIR holds images/ and speech16k/, each with train/ and valid/.
"""

from pathlib import Path

import torch
from common import argument_parser, check_positive, emit, mean_and_std, run, show
from small_codecs import WIDTH, load, scores, trained

from narrows.codecs import VQ, EMACodebook, LearnedCodebook, RotationTrick, StraightThrough

CODEBOOKS = {"ema": EMACodebook, "learned": LearnedCodebook}
ESTIMATORS = {"straight-through": StraightThrough, "rotation-trick": RotationTrick}


def main() -> None:
    """Train and score every combination."""
    parser = argument_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--dead-code-thresholds", type=float, nargs="+", default=[0.1, 0.0])
    parser.add_argument("--kinds", nargs="+", choices=("images", "speech"), default=["images", "speech"])
    parser.add_argument("--entries", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    check_positive(parser, arguments, "entries", "steps", "batch", "seeds", "threads")
    torch.set_num_threads(arguments.threads)

    records = []
    for kind in arguments.kinds:
        data = load(arguments.data, kind, train=4096, valid=1024)
        for codebook_name, codebook in CODEBOOKS.items():
            for threshold in arguments.dead_code_thresholds:
                for name, estimator in ESTIMATORS.items():

                    def make(codebook=codebook, threshold=threshold, estimator=estimator) -> VQ:  # type: ignore[no-untyped-def]
                        vectors = codebook(8, arguments.entries, 0.97, dead_code_threshold=threshold)
                        return VQ(WIDTH, vectors, estimator())

                    runs = [
                        scores(trained(data, make, seed, arguments.steps, arguments.batch), data)
                        for seed in range(arguments.seeds)
                    ]
                    record: dict[str, object] = {"benchmark": "rotation_trick", "data": kind, "codebook": codebook_name}
                    record |= {"dead_code_threshold": threshold, "estimator": name, "entries": arguments.entries}
                    record |= {"steps": arguments.steps, "batch": arguments.batch, "seeds": arguments.seeds}
                    records.append(record | mean_and_std(runs))
                    emit(records[-1])
    columns = ["data", "codebook", "dead_code_threshold", "estimator", "usage", "perplexity", "quantization_mse"]
    show(records, [*columns, "reconstruction_db"])


if __name__ == "__main__":
    run(main)
