"""Speed of narrows and of EnCodec 24 kHz (transformers) on a 10-second clip: batch 1, fp32, on a CPU.

    python benchmarks/audio_speed.py --model speech

The two take turns in one process (A B A B ...), so that whatever else the machine does meets both. EnCodec has its
published shape at 6 kbit/s and random weights, on which its speed does not depend. Needs the package transformers.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, TypeVar

import torch
from common import emit, run, show
from torch import Tensor

import narrows

SECONDS, SEED = 10, 0
KBPS = 6.0  # of EnCodec: 8 codebooks
T = TypeVar("T")


@dataclass(frozen=True)
class Timing:
    """Seconds that one call took: wall time, and CPU time of all threads."""

    wall: float
    cpu: float

    def __add__(self, other: "Timing") -> "Timing":
        return Timing(self.wall + other.wall, self.cpu + other.cpu)


Rounds = list[tuple[Timing, Timing]]  # encode and decode of each round


def main() -> None:
    """Time both codecs in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="speech", help="name or folder of a narrows model (default: speech)")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (default: 2)")
    parser.add_argument("--rounds", type=int, default=15, help="timed rounds, after two that are not (default: 15)")
    arguments = parser.parse_args()
    if arguments.rounds < 1 or arguments.threads < 1:
        parser.error("--rounds and --threads must be at least 1")
    torch.set_num_threads(arguments.threads)

    codecs = {"narrows": _narrows(arguments.model), "encodec": _encodec()}
    rounds: dict[str, Rounds] = {name: [] for name in codecs}
    for _ in range(arguments.rounds + 2):
        for name, codec in codecs.items():
            rounds[name].append(codec())
    rounds = {name: timings[2:] for name, timings in rounds.items()}

    setting = {"benchmark": "audio_speed", "model": arguments.model, "threads": arguments.threads}
    stages: dict[str, Callable[[tuple[Timing, Timing]], Timing]] = {
        "encode": lambda pair: pair[0],
        "decode": lambda pair: pair[1],
        "encode+decode": lambda pair: pair[0] + pair[1],
    }
    records = []
    for name, timings in rounds.items():
        for stage, part in stages.items():
            records.append(setting | {"codec": name, "stage": stage} | _summary([part(pair) for pair in timings]))
    for record in records:
        emit(record)
    times = ["wall_median_s", "wall_min_s", "x_realtime_wall", "cpu_median_s", "cpu_min_s", "x_realtime_cpu"]
    show(records, ["codec", "stage", *times])
    ratios = [
        setting | {"ratio": f"encodec / narrows, {name}"} | _ratios(rounds, part) for name, part in stages.items()
    ]
    for record in ratios:
        emit(record)
    show(ratios, ["ratio", "wall_median", "wall_min", "wall_max", "cpu_median", "cpu_min", "cpu_max"])


def _narrows(model: str) -> Callable[[], tuple[Timing, Timing]]:
    """One round of narrows: encode and decode the clip at the model's own rate."""
    tokenizer = narrows.load(model)
    clip = _clip(tokenizer.sample_rate)

    def one_round() -> tuple[Timing, Timing]:
        tokens, encoding = _timed(lambda: tokenizer.encode(clip, tokenizer.sample_rate))
        _, decoding = _timed(lambda: tokenizer.decode(tokens))
        return encoding, decoding

    return one_round


def _encodec() -> Callable[[], tuple[Timing, Timing]]:
    """One round of EnCodec 24 kHz: encode and decode the clip at 6 kbit/s."""
    from transformers import EncodecConfig, EncodecModel

    torch.manual_seed(SEED)
    model: Any = EncodecModel(EncodecConfig()).eval()  # type: ignore[no-untyped-call]
    for layer in model.quantizer.layers:
        layer.codebook.embed.normal_()  # they are zero until trained
    clip = _clip(model.config.sampling_rate)[None]  # (1, 1, T)

    @torch.inference_mode()
    def one_round() -> tuple[Timing, Timing]:
        encoded, encoding = _timed(lambda: model.encode(clip, bandwidth=KBPS))
        _, decoding = _timed(lambda: model.decode(encoded.audio_codes, encoded.audio_scales))
        return encoding, decoding

    return one_round


def _clip(rate: int) -> Tensor:
    """Ten seconds (1, T) of tones in noise."""
    time_axis = torch.arange(SECONDS * rate) / rate
    tones = sum(torch.sin(2 * torch.pi * 110 * n * time_axis) / n for n in range(1, 8))
    noise = torch.randn(len(time_axis), generator=torch.Generator().manual_seed(SEED))
    return (0.1 * tones + 0.02 * noise)[None]


def _timed(call: Callable[[], T]) -> tuple[T, Timing]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    return result, Timing(time.perf_counter() - wall, time.process_time() - cpu)


def _summary(timings: Sequence[Timing]) -> dict[str, float]:
    """Medians and minima in seconds, and the medians as multiples of real time."""
    record: dict[str, float] = {"rounds": len(timings)}
    for clock in ("wall", "cpu"):
        seconds = [getattr(timing, clock) for timing in timings]
        record |= {f"{clock}_median_s": median(seconds), f"{clock}_min_s": min(seconds)}
        record[f"x_realtime_{clock}"] = SECONDS / median(seconds)
    return record


def _ratios(rounds: dict[str, Rounds], part: Callable[[tuple[Timing, Timing]], Timing]) -> dict[str, float]:
    """How many times longer EnCodec took than narrows, round by round."""
    record: dict[str, float] = {}
    for clock in ("wall", "cpu"):
        pairs = zip(rounds["encodec"], rounds["narrows"], strict=True)
        ratios = [getattr(part(theirs), clock) / getattr(part(ours), clock) for theirs, ours in pairs]
        record |= {f"{clock}_median": median(ratios), f"{clock}_min": min(ratios), f"{clock}_max": max(ratios)}
    return record


if __name__ == "__main__":
    run(main)
