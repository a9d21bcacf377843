"""Public audio codecs here and in transformers: speed, codes and memory, with random weights of full size.

    python benchmarks/public_audio.py dac encodec mimi --seconds 8 --rounds 3
    python benchmarks/public_audio.py dac --memory --seconds 10 40

Both libraries take turns on the same noise and the same number of threads (--threads). The ratio is the time of
transformers over that of narrows, encoding and decoding together; above 1 narrows is faster. With --memory each encodes
and decodes in a process of its own; what loading the model takes is left out.
"""

import sys
import tempfile
from pathlib import Path

from common import MIB, PEAK_UNIT, argument_parser, check_positive, emit, in_turns, measured, ratios, run, show, timed

MODELS = {  # by name: class in transformers, sample rate, changes of its config
    "dac": ("Dac", 44_100, {"downsampling_ratios": [2, 4, 8, 8], "upsampling_ratios": [8, 8, 4, 2]}),
    "encodec": ("Encodec", 24_000, {}),
    "mimi": ("Mimi", 24_000, {}),
}
MEASURED = f"""
import resource, sys, torch
library, folder, name, seconds, threads = sys.argv[1:]
torch.set_num_threads(int(threads))
sys.path.insert(0, {str(Path(__file__).parent)!r})
from public_audio import opened
code = opened(library, name, folder)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
code(float(seconds))
print(before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("models", nargs="+", choices=MODELS)
    parser.add_argument("--seconds", type=int, nargs="+", default=[8])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", action="store_true")
    arguments = parser.parse_args()
    check_positive(parser, arguments, "seconds", "rounds", "threads")
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for name in arguments.models:
            folder = Path(place) / name
            write(name, folder)
            for seconds in arguments.seconds:
                if arguments.memory:
                    rows.append(memory(name, folder, seconds, arguments.threads))
                else:
                    rows.append(speed(name, folder, seconds, arguments.threads, arguments.rounds))
                emit(rows[-1])
    show(rows, list(rows[0]))


def write(name: str, folder: Path) -> None:
    """Write a model with random weights as transformers does."""
    import torch
    import transformers

    kind, rate, changes = MODELS[name]
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(sampling_rate=rate, **changes)
    model = getattr(transformers, f"{kind}Model")(config)
    for key, buffer in model.named_buffers():
        if key.endswith(("embed", "embed_sum")):  # codebooks, which are zeros
            buffer.normal_()
    model.save_pretrained(folder)


def opened(library, name, folder):
    """A function of seconds that encodes and decodes as much noise, and returns codes and the times of both."""
    import torch

    rate = MODELS[name][1]

    def noise(seconds, multiple):
        x = 0.1 * torch.randn(1, round(seconds * rate), generator=torch.Generator().manual_seed(1))
        return torch.nn.functional.pad(x, (0, -x.shape[1] % multiple))

    if library == "narrows":
        import narrows

        tokenizer = narrows.load(folder)
        (multiple,) = tokenizer.codec.stride

        def ours(seconds):
            x = noise(seconds, multiple)
            tokens, encoding = timed(lambda: tokenizer.encode(x, rate))
            _, decoding = timed(lambda: tokenizer.decode(tokens))
            return tokens.codes, encoding.wall, decoding.wall

        return ours
    import transformers

    model = getattr(transformers, f"{MODELS[name][0]}Model").from_pretrained(folder).eval()
    multiple = {"dac": 512, "encodec": 320, "mimi": 1920}[name]
    options = {"encodec": {"bandwidth": 24.0}, "mimi": {"num_quantizers": 32}}.get(name, {})

    @torch.inference_mode()
    def theirs(seconds):
        x = noise(seconds, multiple)[None]
        encoded, encoding = timed(lambda: model.encode(x, **options))
        codes = encoded.audio_codes
        given = {"audio_scales": [None]} if name == "encodec" else {}
        _, decoding = timed(lambda: model.decode(audio_codes=codes, **given))
        return (codes[0] if name == "encodec" else codes), encoding.wall, decoding.wall

    return theirs


def speed(name, folder, seconds, threads, rounds):
    import torch

    torch.set_num_threads(threads)
    calls = {library: opened(library, name, folder) for library in ("narrows", "transformers")}
    results = in_turns({library: lambda call=call: call(seconds) for library, call in calls.items()}, rounds)
    ours, theirs = results["narrows"], results["transformers"]
    ratio = ratios([a + b for _, a, b in theirs], [a + b for _, a, b in ours])
    return {
        "model": name,
        "seconds": seconds,
        "threads": threads,
        "other_codes": int((ours[0][0] != theirs[0][0]).sum()),
        "codes": ours[0][0].numel(),
        "times_real_time": seconds / min(a + b for _, a, b in ours),
        "encode_ratio": ratios([a for _, a, _ in theirs], [a for _, a, _ in ours])["median"],
        "decode_ratio": ratios([b for _, _, b in theirs], [b for _, _, b in ours])["median"],
        "ratio": ratio["median"],
        "min": ratio["min"],
        "max": ratio["max"],
    }


def memory(name, folder, seconds, threads):
    row = {"model": name, "seconds": seconds, "threads": threads}
    for library in ("narrows", "transformers"):
        command = [sys.executable, "-c", MEASURED, library, str(folder), name, str(seconds), str(threads)]
        before, peak = map(int, measured(command)[1].split()[-2:])
        row[f"{library}_mib"] = (peak - before) * PEAK_UNIT / MIB
    return row | {"ratio": row["transformers_mib"] / row["narrows_mib"]}


if __name__ == "__main__":
    run(main)
