"""A training step of a quantizer, forward and backward: time and memory, compared with vector-quantize-pytorch.

    python benchmarks/quantizer_step.py

Both have the same codebook size, straight-through gradient and loss; each case runs in a process of its own.
"""

import argparse
import json
import sys
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING, Any

from common import WARM_UP, argument_parser, check_positive, emit, measured_json, peak_mib, run, show, timed

if TYPE_CHECKING:
    from torch import Tensor

    Step = Callable[[Tensor], None]

CASES = ("ema", "ema-cosine", "learned", "sim", "residual-4")
LIBRARIES = ("narrows", "vector-quantize-pytorch")


def main() -> None:
    """Measure each case with both libraries, in turn."""
    parser = argument_parser(__doc__)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--entries", type=int, default=8192)
    parser.add_argument("--dim", type=int, default=8)
    parser.add_argument("--vectors", type=int, default=16_384, help="in a batch (default: 16384)")
    parser.add_argument("--runs", type=int, default=5, help="timed steps, after two that are not (default: 5)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--one", nargs=2, metavar=("CASE", "LIBRARY"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    check_positive(parser, arguments, "entries", "dim", "vectors", "runs", "threads")
    if arguments.one:
        case, library = arguments.one
        _measure_here(case, library, arguments)
        return

    records = []
    for case in arguments.cases:
        medians = {}
        for library in LIBRARIES:
            command = [sys.executable, __file__, "--one", case, library]
            for name in ("entries", "dim", "vectors", "runs", "threads"):
                command += [f"--{name}", str(getattr(arguments, name))]
            _, result = measured_json(command)
            medians[library] = result["cpu_s"]
            record: dict[str, object] = {"benchmark": "quantizer_step", "case": case, "library": library}
            record |= {"entries": arguments.entries, "dim": arguments.dim, "vectors": arguments.vectors}
            record |= {"runs": arguments.runs} | result
            records.append(record | {"narrows_is_faster": medians[library] / medians["narrows"]})
            emit(records[-1])
    show(records, ["case", "library", "cpu_s", "wall_s", "extra_mib", "narrows_is_faster"])


def _measure_here(case: str, library: str, arguments: argparse.Namespace) -> None:
    """Measure one case in this process and print the result."""
    import torch

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    step = (_narrows if library == "narrows" else _reference)(case, arguments.dim, arguments.entries)
    shape = (8, arguments.vectors // 8, arguments.dim)
    batches = [torch.randn(shape, requires_grad=True) for _ in range(arguments.runs + WARM_UP)]
    before = peak_mib()
    timings = [timed(lambda x=x: step(x))[1] for x in batches][WARM_UP:]  # type: ignore[misc]
    cpu = [timing.cpu for timing in timings]
    record = {"cpu_s": median(cpu), "cpu_min_s": min(cpu), "cpu_max_s": max(cpu)}
    record |= {"wall_s": median(timing.wall for timing in timings), "extra_mib": peak_mib() - before}
    print(json.dumps(record))


def _narrows(case: str, dim: int, entries: int) -> "Step":
    """A training step of narrows' quantizer on vectors (B, N, dim)."""
    from narrows.codecs import VQ, EMACodebook, LearnedCodebook, Residual, SimCodebook, StraightThrough

    def plain() -> VQ:
        return VQ(dim, EMACodebook(dim, entries, kmeans_steps=0), StraightThrough())

    makers: dict[str, Callable[[], Any]] = {
        "ema": plain,
        "ema-cosine": lambda: VQ(dim, EMACodebook(dim, entries, cosine=True, kmeans_steps=0), StraightThrough()),
        "learned": lambda: VQ(dim, LearnedCodebook(dim, entries, kmeans_steps=0), StraightThrough()),
        "sim": lambda: VQ(dim, SimCodebook(dim, entries), StraightThrough()),
        "residual-4": lambda: Residual(dim, [plain() for _ in range(4)], dropout=0.0),
    }
    quantizer = makers[case]().train()

    def step(x: "Tensor") -> None:
        quantized = quantizer(x.movedim(1, 2))
        (quantized.latents.square().mean() + sum(quantized.losses.values())).backward()

    return step


def _reference(case: str, dim: int, entries: int) -> "Step":
    """A training step of the quantizer of vector-quantize-pytorch on vectors (B, N, dim)."""
    import vector_quantize_pytorch as vqp

    plain = {"decay": 0.99, "threshold_ema_dead_code": 1, "rotation_trick": False}
    makers: dict[str, Callable[[], Any]] = {
        "ema": lambda: vqp.VectorQuantize(dim, entries, **plain),
        "ema-cosine": lambda: vqp.VectorQuantize(dim, entries, use_cosine_sim=True, **plain),
        "learned": lambda: vqp.VectorQuantize(dim, entries, learnable_codebook=True, ema_update=False, **plain),
        "sim": lambda: vqp.SimVQ(dim, entries, rotation_trick=False),
        "residual-4": lambda: vqp.ResidualVQ(dim=dim, num_quantizers=4, codebook_size=entries, **plain),
    }
    quantizer = makers[case]().train()

    def step(x: "Tensor") -> None:
        latents, _, loss = quantizer(x)
        (latents.square().mean() + loss.sum()).backward()

    return step


if __name__ == "__main__":
    run(main)
