"""A training step of a quantizer, forward and backward: time and memory, next to vector-quantize-pytorch.

    python benchmarks/quantizer_step.py

Both with the same codebook size, straight-through gradient and one loss; each case in a process of its own.
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from statistics import median

from common import PEAK_UNIT, emit, measured, run, show

MIB = 2**20
CASES = ("ema", "ema-cosine", "learned", "sim", "residual-4")
SIDES = ("narrows", "vector-quantize-pytorch")


def main() -> None:
    """Measure each case on both sides, in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--entries", type=int, default=8192)
    parser.add_argument("--dim", type=int, default=8)
    parser.add_argument("--vectors", type=int, default=16_384, help="in a batch (default: 16384)")
    parser.add_argument("--runs", type=int, default=5, help="timed steps, after two that are not (default: 5)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--one", nargs=2, metavar=("CASE", "SIDE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if min(arguments.entries, arguments.dim, arguments.vectors, arguments.runs, arguments.threads) < 1:
        parser.error("all numbers must be at least 1")
    if arguments.one:
        _one(*arguments.one, arguments)
        return

    records = []
    for case in arguments.cases:
        medians = {}
        for side in SIDES:
            command = [sys.executable, __file__, "--one", case, side]
            for name in ("entries", "dim", "vectors", "runs", "threads"):
                command += [f"--{name}", str(getattr(arguments, name))]
            result = json.loads(measured(command)[1].strip().splitlines()[-1])
            medians[side] = result["cpu_s"]
            record: dict[str, object] = {"benchmark": "quantizer_step", "case": case, "side": side}
            record |= {"entries": arguments.entries, "dim": arguments.dim, "vectors": arguments.vectors}
            record |= {"runs": arguments.runs} | result | {"narrows_is_faster": medians[side] / medians["narrows"]}
            records.append(record)
            emit(record)
    show(records, ["case", "side", "cpu_s", "wall_s", "extra_mib", "narrows_is_faster"])


def _one(case: str, side: str, arguments: argparse.Namespace) -> None:
    """Measure one case in this process and print what it took."""
    import torch

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    step = (_ours if side == "narrows" else _theirs)(case, arguments.dim, arguments.entries)
    batches = [torch.randn(8, arguments.vectors // 8, arguments.dim) for _ in range(arguments.runs + 2)]
    cpu, wall = [], []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for x in batches:
        x.requires_grad_()
        begin_cpu, begin = time.process_time(), time.perf_counter()
        step(x)
        cpu.append(time.process_time() - begin_cpu)
        wall.append(time.perf_counter() - begin)
    extra = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * PEAK_UNIT / MIB
    cpu, wall = cpu[2:], wall[2:]
    record = {"cpu_s": median(cpu), "cpu_min_s": min(cpu), "cpu_max_s": max(cpu), "wall_s": median(wall)}
    print(json.dumps(record | {"extra_mib": extra}))


def _ours(case: str, dim: int, entries: int) -> "Callable[[object], None]":
    from narrows.codecs import VQ, EMACodebook, LearnedCodebook, Residual, SimCodebook, StraightThrough

    def plain() -> VQ:
        return VQ(dim, EMACodebook(dim, entries, kmeans_steps=0), StraightThrough())

    made = {
        "ema": plain,
        "ema-cosine": lambda: VQ(dim, EMACodebook(dim, entries, cosine=True, kmeans_steps=0), StraightThrough()),
        "learned": lambda: VQ(dim, LearnedCodebook(dim, entries, kmeans_steps=0), StraightThrough()),
        "sim": lambda: VQ(dim, SimCodebook(dim, entries), StraightThrough()),
        "residual-4": lambda: Residual(dim, [plain() for _ in range(4)], dropout=0.0),
    }[case]().train()

    def step(x) -> None:  # type: ignore[no-untyped-def]
        quantized = made(x.movedim(1, 2))
        (quantized.latents.square().mean() + sum(quantized.losses.values())).backward()

    return step


def _theirs(case: str, dim: int, entries: int) -> "Callable[[object], None]":
    import vector_quantize_pytorch as reference

    plain = {"decay": 0.99, "threshold_ema_dead_code": 1, "rotation_trick": False}
    made = {
        "ema": lambda: reference.VectorQuantize(dim, entries, **plain),
        "ema-cosine": lambda: reference.VectorQuantize(dim, entries, use_cosine_sim=True, **plain),
        "learned": lambda: reference.VectorQuantize(dim, entries, learnable_codebook=True, ema_update=False, **plain),
        "sim": lambda: reference.SimVQ(dim, entries, rotation_trick=False),
        "residual-4": lambda: reference.ResidualVQ(dim=dim, num_quantizers=4, codebook_size=entries, **plain),
    }[case]().train()

    def step(x) -> None:  # type: ignore[no-untyped-def]
        latents, _, loss = made(x)
        (latents.square().mean() + loss.sum()).backward()

    return step


if __name__ == "__main__":
    run(main)
