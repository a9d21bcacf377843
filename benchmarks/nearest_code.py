"""The nearest code of each vector: time, memory and agreement, compared with other implementations.

    python benchmarks/nearest_code.py

narrows' `nearest`, `torch.cdist` with `argmin` on all vectors at once, and VectorQuantize of vector-quantize-pytorch in
eval mode. Each method runs in a process of its own; memory is the peak above what that process held before. A method
that would exceed the memory limit gets fewer vectors; the record says how many.
"""

import argparse
import json
import sys
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING

from common import argument_parser, check_positive, emit, measured_json, peak_mib, run, show, timed

if TYPE_CHECKING:
    from torch import Tensor

METHODS = ("narrows", "cdist", "vector-quantize-pytorch")
TABLES = {"narrows": 0, "cdist": 2, "vector-quantize-pytorch": 5}  # vectors × codes floats held at once, about


def main() -> None:
    """Measure each method at each size, in turn."""
    parser = argument_parser(__doc__)
    parser.add_argument("--entries", type=int, nargs="+", default=[1024, 8192, 16384])
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=8)
    parser.add_argument("--runs", type=int, default=3, help="runs of each, of which the median counts (default: 3)")
    parser.add_argument("--memory-gib", type=float, default=12.0, help="memory limit of one method (default: 12)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--one", nargs=3, metavar=("METHOD", "ENTRIES", "VECTORS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    check_positive(parser, arguments, "entries", "vectors", "dim", "runs", "threads")
    if arguments.one:
        method, entries, vectors = arguments.one
        _measure_here(method, int(entries), int(vectors), arguments)
        return

    records = []
    for entries in arguments.entries:
        speeds = {}
        for method in METHODS:
            limit = int(arguments.memory_gib * 2**30 / (4 * entries * max(1, TABLES[method])))
            vectors = min(arguments.vectors, limit) if TABLES[method] else arguments.vectors
            command = [sys.executable, __file__, "--one", method, str(entries), str(vectors)]
            command += ["--dim", str(arguments.dim), "--runs", str(arguments.runs)]
            _, result = measured_json([*command, "--threads", str(arguments.threads)])
            speeds[method] = vectors / result["cpu_s"]
            record: dict[str, object] = {"benchmark": "nearest_code", "method": method, "entries": entries}
            record |= {"dim": arguments.dim, "vectors": vectors, "runs": arguments.runs} | result
            record |= {"vectors_per_cpu_s": speeds[method], "narrows_is_faster": speeds["narrows"] / speeds[method]}
            records.append(record)
            emit(record)
    show(records, ["method", "entries", "vectors", "cpu_s", "wall_s", "extra_mib", "narrows_is_faster", "differ"])


def _measure_here(method: str, entries: int, vectors: int, arguments: argparse.Namespace) -> None:
    """Measure one method in this process and print the result."""
    import torch

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    x, codebook = torch.randn(vectors, arguments.dim), torch.randn(entries, arguments.dim)
    with torch.inference_mode():
        search = _search(method, codebook)
        search(x[:300])  # warm-up with little memory
        before = peak_mib()
        results = [timed(lambda: search(x)) for _ in range(arguments.runs)]
        extra_mib = peak_mib() - before
        expected = torch.cat([torch.cdist(part, codebook).argmin(1) for part in x.split(1000)])
    cpu = [timing.cpu for _, timing in results]
    record = {"cpu_s": median(cpu), "cpu_min_s": min(cpu), "cpu_max_s": max(cpu)}
    record |= {"wall_s": median(timing.wall for _, timing in results), "extra_mib": extra_mib}
    print(json.dumps(record | {"differ": int((results[-1][0] != expected).sum())}))


def _search(method: str, codebook: "Tensor") -> Callable[["Tensor"], "Tensor"]:
    """A function from vectors (N, dim) to the indices (N,) of their nearest codes (V, dim)."""
    import torch

    if method == "narrows":
        from narrows.codecs.quantization.search import nearest

        return lambda x: nearest(x, codebook)
    if method == "cdist":
        return lambda x: torch.cdist(x, codebook).argmin(1)
    from vector_quantize_pytorch import VectorQuantize

    quantizer = VectorQuantize(codebook.shape[1], len(codebook), rotation_trick=False).eval()
    quantizer.codebook = codebook
    return lambda x: quantizer(x[None])[1][0]


if __name__ == "__main__":
    run(main)
