"""At equal bits, several sub-codebooks against one large codebook, as the vocabulary grows (UniTok, arXiv 2502.20321).

    python benchmarks/subcodebooks.py --data DIR

A small autoencoder of image crops and one of speech spectra; b bits per position as one codebook of 2^b codes, as two
of 2^(b/2) and as four of 2^(b/4). Each sub-codebook codes a chunk of 8 channels, compared by cosine, and learns by
gradient, as in UniTok; the projection is linear. DIR holds images/ and speech16k/, each with train/ and valid/.
"""

from pathlib import Path

import torch
from common import argument_parser, check_positive, emit, mean_and_std, run, show
from small_codecs import WIDTH, load, scores, trained

from narrows.codecs import MultiCodebook


def main() -> None:
    """Train and score every combination."""
    parser = argument_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--kinds", nargs="+", choices=("images", "speech"), default=["images", "speech"])
    parser.add_argument("--bits", type=int, nargs="+", default=[8, 12, 16], help="multiples of 4 (default: 8 12 16)")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    check_positive(parser, arguments, "bits", "steps", "batch", "seeds", "threads")
    if any(bits % 4 for bits in arguments.bits):
        parser.error(f"expected --bits of multiples of 4, got {arguments.bits}")
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
                record |= {"codebooks": codebooks, "entries": entries, "steps": arguments.steps}
                record |= {"batch": arguments.batch, "seeds": arguments.seeds}
                records.append(record | mean_and_std(runs))
                emit(records[-1])
    show(records, ["data", "bits", "codebooks", "entries", "usage", "perplexity", "reconstruction_db"])


if __name__ == "__main__":
    run(main)
