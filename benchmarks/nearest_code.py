"""The nearest code of each vector: time, memory and agreement, next to others.

    python benchmarks/nearest_code.py

narrows' `nearest`, `torch.cdist` with `argmin` on all vectors at once, and VectorQuantize of vector-quantize-pytorch in
eval mode. Each method runs in a process of its own; memory is the peak above what that process held before.
Methods that need more memory than there is are run on fewer vectors, whose number the record gives.
"""

import argparse
import json
import resource
import sys
import time
from statistics import median

from common import PEAK_UNIT, emit, fail, measured, run, show

MIB = 2**20
METHODS = ("narrows", "cdist", "vector-quantize-pytorch")
TABLES = {"narrows": 0, "cdist": 2, "vector-quantize-pytorch": 5}  # tables of vectors times codes held at once


def main() -> None:
    """Measure each method at each size, in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, nargs="+", default=[1024, 8192, 16384])
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=8)
    parser.add_argument("--runs", type=int, default=3, help="runs of each, the median counts (default: 3)")
    parser.add_argument("--memory-gib", type=float, default=12.0, help="what one method may take (default: 12)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--one", nargs=3, metavar=("METHOD", "ENTRIES", "VECTORS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        _one(arguments.one[0], int(arguments.one[1]), int(arguments.one[2]), arguments)
        return
    if min([arguments.vectors, arguments.dim, arguments.runs, arguments.threads, *arguments.entries]) < 1:
        parser.error("all numbers must be at least 1")

    records = []
    for entries in arguments.entries:
        rates = {}
        for method in METHODS:
            most = int(arguments.memory_gib * 2**30 / (4 * entries * max(1, TABLES[method])))
            vectors = min(arguments.vectors, most) if TABLES[method] else arguments.vectors
            command = [sys.executable, __file__, "--one", method, str(entries), str(vectors)]
            command += ["--dim", str(arguments.dim), "--runs", str(arguments.runs)]
            _, printed = measured([*command, "--threads", str(arguments.threads)])
            result = json.loads(printed.strip().splitlines()[-1])
            rates[method] = vectors / result["cpu_s"]
            record: dict[str, object] = {"benchmark": "nearest_code", "method": method, "entries": entries}
            record |= {"dim": arguments.dim, "vectors": vectors, "runs": arguments.runs} | result
            record |= {"vectors_per_cpu_s": rates[method], "narrows_is_faster": rates["narrows"] / rates[method]}
            records.append(record)
            emit(record)
    show(records, ["method", "entries", "vectors", "cpu_s", "wall_s", "extra_mib", "narrows_is_faster", "differ"])


def _one(method: str, entries: int, vectors: int, arguments: argparse.Namespace) -> None:
    """Measure one method in this process and print what it took."""
    import torch

    from narrows.codecs.quantization.search import nearest

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    x, book = torch.randn(vectors, arguments.dim), torch.randn(entries, arguments.dim)
    with torch.inference_mode():
        if method == "narrows":
            search = nearest
        elif method == "cdist":

            def search(x: torch.Tensor, book: torch.Tensor) -> torch.Tensor:
                return torch.cdist(x, book).argmin(1)

        elif method == "vector-quantize-pytorch":
            from vector_quantize_pytorch import VectorQuantize

            quantizer = VectorQuantize(arguments.dim, entries, rotation_trick=False).eval()
            quantizer.codebook = book

            def search(x: torch.Tensor, book: torch.Tensor) -> torch.Tensor:
                return quantizer(x[None])[1][0]

        else:
            fail(f"no method {method!r}")
        search(x[:300], book)  # warm, with next to no memory
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        cpu, wall = [], []
        for _ in range(arguments.runs):
            begin_cpu, begin = time.process_time(), time.perf_counter()
            codes = search(x, book)
            cpu.append(time.process_time() - begin_cpu)
            wall.append(time.perf_counter() - begin)
        extra = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * PEAK_UNIT / MIB
        wanted = torch.cat([torch.cdist(some, book).argmin(1) for some in x.split(1000)])
    record = {"cpu_s": median(cpu), "cpu_min_s": min(cpu), "cpu_max_s": max(cpu), "wall_s": median(wall)}
    print(json.dumps(record | {"extra_mib": extra, "differ": int((codes != wanted).sum())}))


if __name__ == "__main__":
    run(main)
