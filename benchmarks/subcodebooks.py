"""At equal bits, several sub-codebooks against one large codebook, as the vocabulary grows (UniTok, arXiv 2502.20321).

    python benchmarks/subcodebooks.py --data DIR

A small autoencoder of image crops and one of speech spectra; b bits a position as one codebook of 2^b codes, as two of
2^(b/2) and as four of 2^(b/4). Each sub-codebook codes a chunk of 8 channels, compared by cosine, and learns by
gradient, as in UniTok; the projection is linear. DIR holds images/ and speech16k/, each with train/ and valid/.
"""

import argparse
from pathlib import Path

import torch
from common import emit, run, show
from small_codecs import WIDTH, load, scores, spread, trained

from narrows.codecs import MultiCodebook


def main() -> None:
    """Train and score every combination."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--kinds", nargs="+", choices=("images", "speech"), default=["images", "speech"])
    parser.add_argument("--bits", type=int, nargs="+", default=[8, 12, 16], help="multiples of 4 (default: 8 12 16)")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    if min(arguments.steps, arguments.batch, arguments.seeds, arguments.threads) < 1 or any(
        b % 4 or b < 4 for b in arguments.bits
    ):
        parser.error("numbers must be at least 1, and bits multiples of 4")
    torch.set_num_threads(arguments.threads)

    records = []
    for kind in arguments.kinds:
        data = load(arguments.data, kind, train=4096, valid=1024)
        for bits in arguments.bits:
            for codebooks in (1, 2, 4):
                entries = 2 ** (bits // codebooks)

                def make(codebooks: int = codebooks, entries: int = entries) -> MultiCodebook:
                    return MultiCodebook(WIDTH, codebooks, entries, code_dim=8)

                runs = [
                    scores(trained(data, make, seed, arguments.steps, arguments.batch), data)
                    for seed in range(arguments.seeds)
                ]
                record: dict[str, object] = {"benchmark": "subcodebooks", "data": kind, "bits": bits}
                record |= {
                    "codebooks": codebooks,
                    "entries": entries,
                    "steps": arguments.steps,
                    "batch": arguments.batch,
                }
                record |= {"seeds": arguments.seeds} | spread(runs)
                records.append(record)
                emit(record)
    show(records, ["data", "bits", "codebooks", "entries", "usage", "perplexity", "reconstruction_db"])


if __name__ == "__main__":
    run(main)
