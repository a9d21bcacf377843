"""Speed of narrows and of EnCodec 24 kHz (transformers) on a 10-second clip: batch 1, fp32, on a CPU.

    python benchmarks/audio_speed.py --model speech

The two take turns in one process (A B A B ...), so that other load on the machine affects both. EnCodec has its
published architecture at 6 kbit/s and random weights, on which its speed does not depend. Needs the package
transformers.
"""

from collections.abc import Callable, Sequence
from statistics import median

import torch
from common import (
    Timing,
    argument_parser,
    check_positive,
    emit,
    in_turns,
    load_audio_model,
    random_encodec,
    ratios,
    run,
    show,
    timed,
)
from torch import Tensor

SECONDS, SEED = 10, 0
ENCODEC_KBPS = 6.0  # 8 codebooks
Round = dict[str, Timing]  # by stage


def main() -> None:
    """Time both codecs in turns."""
    parser = argument_parser(__doc__)
    parser.add_argument("--model", default="speech", help="name or folder of a narrows model (default: speech)")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (default: 2)")
    parser.add_argument("--rounds", type=int, default=15, help="timed rounds, after two that are not (default: 15)")
    arguments = parser.parse_args()
    check_positive(parser, arguments, "threads", "rounds")
    torch.set_num_threads(arguments.threads)

    rounds = in_turns({"narrows": _narrows(arguments.model), "encodec": _encodec()}, arguments.rounds)
    settings = {"benchmark": "audio_speed", "model": arguments.model, "threads": arguments.threads}
    stages = list(rounds["narrows"][0])
    records = [
        settings | {"codec": name, "stage": stage} | _summary([timings[stage] for timings in of_codec])
        for name, of_codec in rounds.items()
        for stage in stages
    ]
    for record in records:
        emit(record)
    times = ["wall_median_s", "wall_min_s", "x_realtime_wall", "cpu_median_s", "cpu_min_s", "x_realtime_cpu"]
    show(records, ["codec", "stage", *times])
    compared = []
    for stage in stages:
        record = settings | {"ratio": f"encodec / narrows, {stage}"}
        for clock in ("wall", "cpu"):
            series = ([getattr(timings[stage], clock) for timings in rounds[name]] for name in ("encodec", "narrows"))
            record |= {f"{clock}_{name}": value for name, value in ratios(*series).items()}
        compared.append(record)
        emit(record)
    show(compared, ["ratio", "wall_median", "wall_min", "wall_max", "cpu_median", "cpu_min", "cpu_max"])


def _narrows(model: str) -> Callable[[], Round]:
    """One round of narrows: encode and decode the clip at the model's own sample rate."""
    tokenizer = load_audio_model(model)
    clip = _clip(tokenizer.sample_rate)

    def one_round() -> Round:
        tokens, encoding = timed(lambda: tokenizer.encode(clip, tokenizer.sample_rate))
        _, decoding = timed(lambda: tokenizer.decode(tokens))
        return {"encode": encoding, "decode": decoding, "encode+decode": encoding + decoding}

    return one_round


def _encodec() -> Callable[[], Round]:
    """One round of EnCodec 24 kHz: encode and decode the clip at 6 kbit/s."""
    model = random_encodec(SEED)
    clip = _clip(model.config.sampling_rate)[None]  # (1, 1, T)

    @torch.inference_mode()
    def one_round() -> Round:
        encoded, encoding = timed(lambda: model.encode(clip, bandwidth=ENCODEC_KBPS))
        _, decoding = timed(lambda: model.decode(encoded.audio_codes, encoded.audio_scales))
        return {"encode": encoding, "decode": decoding, "encode+decode": encoding + decoding}

    return one_round


def _clip(sample_rate: int) -> Tensor:
    """Ten seconds (1, T) of tones in noise."""
    time = torch.arange(SECONDS * sample_rate) / sample_rate
    tones = torch.stack([torch.sin(2 * torch.pi * 110 * n * time) / n for n in range(1, 8)]).sum(0)
    noise = torch.randn(len(time), generator=torch.Generator().manual_seed(SEED))
    return (0.1 * tones + 0.02 * noise)[None]


def _summary(timings: Sequence[Timing]) -> dict[str, float]:
    """Medians and minima in seconds, and the medians as multiples of real time."""
    record: dict[str, float] = {"rounds": len(timings)}
    for clock in ("wall", "cpu"):
        seconds = [getattr(timing, clock) for timing in timings]
        record |= {f"{clock}_median_s": median(seconds), f"{clock}_min_s": min(seconds)}
        record[f"x_realtime_{clock}"] = SECONDS / median(seconds)
    return record


if __name__ == "__main__":
    run(main)
