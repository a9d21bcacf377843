"""Speed of an image model and of CompressAI's mbt2018-mean on a picture of 768 × 512: fp32, on a CPU, real bytes.

    python benchmarks/image_speed.py --model image --quality 4 --picture FILE

The two take turns in one process (A B A B ...), so that whatever else the machine does meets both. mbt2018-mean has its
published shape (N 128, M 192 at qualities 1 to 4, N 192, M 320 above) and random weights. Its decoding is all from
strings to pixels, ours all from bytes to pixels, checksums included. FLOPs are counted in a decoding of ours, two for a
multiplication with its addition. Needs the package compressai; --alone leaves it out.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import numpy as np
import torch
from common import emit, fail, run, show
from torch.utils.flop_counter import FlopCounterMode

import narrows
from narrows import ImageTokenizer
from narrows.bitstream import IndexedTables, Reader
from narrows.media import image

HEIGHT, WIDTH, SEED = 512, 768, 0
LOWER, HIGHER = (128, 192), (192, 320)  # N and M of mbt2018-mean at its qualities 1 to 4, and 5 to 8
T = TypeVar("T")
Round = dict[str, float]  # seconds by what was done


def main() -> None:
    """Time both in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="image", help="name or folder of an image model (default: image)")
    parser.add_argument("--quality", type=float, default=4, help="1 to 8 (default: 4)")
    parser.add_argument("--picture", type=Path, required=True, help="a picture of at least 768 × 512, which is cut")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (default: 2)")
    parser.add_argument("--rounds", type=int, default=9, help="timed rounds, after two that are not (default: 9)")
    parser.add_argument("--alone", action="store_true", help="without mbt2018-mean")
    arguments = parser.parse_args()
    if arguments.rounds < 1 or arguments.threads < 1:
        parser.error("--rounds and --threads must be at least 1")
    torch.set_num_threads(arguments.threads)
    x = image.read(arguments.picture).pixels[:, :HEIGHT, :WIDTH]
    if x.shape != (3, HEIGHT, WIDTH):
        fail(f"{arguments.picture} has {x.shape[0]} channels, {x.shape[2]} × {x.shape[1]} pixels; 3, 768 × 512 wanted")
    tokenizer = narrows.load(arguments.model)
    if not isinstance(tokenizer, ImageTokenizer) or tokenizer.coding_tables is None:
        fail(f"{arguments.model} is no model of images with tables")

    codecs = {"narrows": _narrows(tokenizer, x, arguments.quality)}
    if not arguments.alone:
        codecs["mbt2018-mean"] = _mbt2018_mean(x, arguments.quality)
    rounds: dict[str, list[Round]] = {name: [] for name in codecs}
    for _ in range(arguments.rounds + 2):
        for name, codec in codecs.items():
            rounds[name].append(codec())
    rounds = {name: timings[2:] for name, timings in rounds.items()}

    setting = {"benchmark": "image_speed", "model": arguments.model, "quality": arguments.quality}
    setting |= {"threads": arguments.threads, "rounds": arguments.rounds}
    records = [
        setting | {"codec": name, "stage": stage, "median_s": median(seconds), "least_s": min(seconds)}
        for name, timings in rounds.items()
        for stage, seconds in ((stage, [timing[stage] for timing in timings]) for stage in timings[0])
    ]
    for record in records:
        emit(record)
    show(records, ["codec", "stage", "median_s", "least_s"])
    pairs = {"entropy coder / networks, decode": _ratios(rounds["narrows"], rounds["narrows"], "coder", "networks")}
    if not arguments.alone:
        pairs |= {
            f"mbt2018-mean / narrows, {stage}": _ratios(rounds["mbt2018-mean"], rounds["narrows"], stage, stage)
            for stage in ("encode", "decode")
        }
    ratios = [setting | {"ratio": name} | values for name, values in pairs.items()]
    for record in ratios:
        emit(record)
    show(ratios, ["ratio", "median", "least", "most"])
    counted = setting | _flops(tokenizer, x, arguments.quality)
    emit(counted)
    show([counted], ["entropy_model_flops_per_pixel", "decoder_flops_per_pixel", "flops_per_pixel"])


def _narrows(tokenizer: ImageTokenizer, x: image.Pixels, quality: float) -> Callable[[], Round]:
    """One round of narrows: to bytes and back; and how long the entropy coder alone takes for what it decodes."""

    def one_round() -> Round:
        data, encoding = _timed(lambda: tokenizer.compress(tokenizer.encode(x, quality, effort=0)))
        (tokens, _), decoding = _timed(lambda: tokenizer.open(data))
        recorded = list(_stages(tokenizer, tokens))
        _, coding = _timed(lambda: _coder_alone(tokenizer, tokens, data, recorded))
        return {"encode": encoding, "decode": decoding, "coder": coding, "networks": decoding - coding}

    return one_round


def _stages(tokenizer: ImageTokenizer, tokens: narrows.Tokens) -> Iterator[Any]:
    """Places and tables, as the networks choose them for a picture of one band."""
    assert tokenizer.model is not None
    assert tokens.quality_index is not None
    codes = tokens.codes.numpy()
    with torch.inference_mode():
        choices = tokenizer.model.choose((1, *codes.shape[2:]), tokens.quality_index)
        place, tables = next(choices)
        while True:
            yield place, tables
            try:
                place, tables = choices.send(codes[place])
            except StopIteration:
                return


def _coder_alone(tokenizer: ImageTokenizer, tokens: narrows.Tokens, data: bytes, recorded: list[Any]) -> None:
    """Decode a stream whose tables are known beforehand."""
    assert tokenizer.tables is not None

    def choose(*_: object) -> Any:
        yield from (each for each in recorded)

    reader = Reader(data, IndexedTables(tokenizer.tables, choose))
    reader.verify()
    (chunk,) = reader
    assert np.array_equal(chunk.codes, tokens.codes)


def _mbt2018_mean(x: image.Pixels, quality: float) -> Callable[[], Round]:
    """One round of CompressAI: to strings and back."""
    from compressai.models import MeanScaleHyperprior

    torch.manual_seed(SEED)
    model: Any = MeanScaleHyperprior(*(LOWER if quality < 4.5 else HIGHER)).eval()
    model.entropy_bottleneck.update(force=True)
    model.update(force=True)

    @torch.inference_mode()
    def one_round() -> Round:
        given = torch.from_numpy(np.ascontiguousarray(x)).float()[None] / 255
        coded, encoding = _timed(lambda: model.compress(given))
        _, decoding = _timed(lambda: model.decompress(coded["strings"], coded["shape"]))
        return {"encode": encoding, "decode": decoding}

    return one_round


def _flops(tokenizer: ImageTokenizer, x: image.Pixels, quality: float) -> dict[str, float]:
    """FLOPs a pixel of decoding, of convolutions and matrix products."""
    tokens = tokenizer.encode(x, quality, effort=0)
    data, pixels = tokenizer.compress(tokens), HEIGHT * WIDTH
    with FlopCounterMode(display=False) as chosen:
        tokenizer.decompress(data)
    with FlopCounterMode(display=False) as all_told:
        tokenizer.open(data)
    model, both = chosen.get_total_flops() / pixels, all_told.get_total_flops() / pixels
    return {"entropy_model_flops_per_pixel": model, "decoder_flops_per_pixel": both - model, "flops_per_pixel": both}


def _timed(call: Callable[[], T]) -> tuple[T, float]:
    begin = time.perf_counter()
    result = call()
    return result, time.perf_counter() - begin


def _ratios(above: Sequence[Round], below: Sequence[Round], first: str, second: str) -> dict[str, float]:
    """Of two timings, round by round."""
    ratios = [a[first] / b[second] for a, b in zip(above, below, strict=True)]
    return {"median": median(ratios), "least": min(ratios), "most": max(ratios)}


if __name__ == "__main__":
    run(main)
