"""Speed of an image model and of CompressAI's mbt2018-mean on an image of 768 × 512: fp32, on a CPU, real bytes.

    python benchmarks/image_speed.py --model image --quality 4 --image FILE

The two take turns in one process (A B A B ...), so that other load on the machine affects both. mbt2018-mean has its
published architecture (N 128, M 192 at qualities 1 to 4, N 192, M 320 above) and random weights. Decoding is from
strings to pixels for mbt2018-mean, from bytes to pixels, checksums included, for narrows. FLOPs are counted in one
decoding of narrows; a multiplication with its addition counts as two. Needs the package compressai; --alone leaves it
out.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from common import (
    argument_parser,
    check_positive,
    emit,
    fail,
    in_turns,
    load_image_model,
    ratios,
    run,
    show,
    timed,
)
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from narrows import ImageTokenizer, Tokens
from narrows.bitstream import IndexedTables, Reader
from narrows.media import image

HEIGHT, WIDTH, SEED = 512, 768, 0
SMALL, LARGE = (128, 192), (192, 320)  # N and M of mbt2018-mean at its qualities 1 to 4, and 5 to 8
Pixels = NDArray[np.uint8]
Round = dict[str, float]  # seconds by stage


def main() -> None:
    """Time both in turns."""
    parser = argument_parser(__doc__)
    parser.add_argument("--model", default="image", help="name or folder of an image model (default: image)")
    parser.add_argument("--quality", type=float, default=4, help="1 to 8 (default: 4)")
    parser.add_argument("--image", type=Path, required=True, help="image of at least 768 × 512, which is cropped")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (default: 2)")
    parser.add_argument("--rounds", type=int, default=9, help="timed rounds, after two that are not (default: 9)")
    parser.add_argument("--alone", action="store_true", help="without mbt2018-mean")
    arguments = parser.parse_args()
    check_positive(parser, arguments, "rounds", "threads")
    torch.set_num_threads(arguments.threads)
    x = image.read(arguments.image).pixels[:, :HEIGHT, :WIDTH]
    if x.shape != (3, HEIGHT, WIDTH):
        fail(f"expected an image (3, {HEIGHT}, {WIDTH}) or larger, got {x.shape} in {arguments.image}")
    tokenizer = load_image_model(arguments.model)

    codecs = {"narrows": _narrows(tokenizer, x, arguments.quality)}
    if not arguments.alone:
        codecs["mbt2018-mean"] = _mbt2018_mean(x, arguments.quality)
    rounds = in_turns(codecs, arguments.rounds)

    settings = {"benchmark": "image_speed", "model": arguments.model, "quality": arguments.quality}
    settings |= {"threads": arguments.threads, "rounds": arguments.rounds}
    series = {
        (name, stage): [timings[stage] for timings in of_codec]
        for name, of_codec in rounds.items()
        for stage in of_codec[0]
    }
    records = [
        settings | {"codec": name, "stage": stage, "median_s": median(seconds), "min_s": min(seconds)}
        for (name, stage), seconds in series.items()
    ]
    for record in records:
        emit(record)
    show(records, ["codec", "stage", "median_s", "min_s"])
    pairs = {"entropy coder / networks, decode": (("narrows", "coder"), ("narrows", "networks"))}
    if not arguments.alone:
        for stage in ("encode", "decode"):
            pairs[f"mbt2018-mean / narrows, {stage}"] = (("mbt2018-mean", stage), ("narrows", stage))
    compared = [
        settings | {"ratio": name} | ratios(series[above], series[below]) for name, (above, below) in pairs.items()
    ]
    for record in compared:
        emit(record)
    show(compared, ["ratio", "median", "min", "max"])
    flops = settings | _flops(tokenizer, x, arguments.quality)
    emit(flops)
    show([flops], ["entropy_model_flops_per_pixel", "decoder_flops_per_pixel", "flops_per_pixel"])


def _narrows(tokenizer: ImageTokenizer, x: Pixels, quality: float) -> Callable[[], Round]:
    """One round of narrows: to bytes and back; and how long the entropy coder alone takes for what it decodes."""

    def one_round() -> Round:
        data, encoding = timed(lambda: tokenizer.compress(tokenizer.encode(x, quality=quality, effort=0)))
        _, decoding = timed(lambda: tokenizer.decode_signal(data))
        tokens = tokenizer.decompress(data)
        recorded = list(_stages(tokenizer, tokens))
        _, coding = timed(lambda: _decode_with_known_tables(tokenizer, tokens, data, recorded))
        networks = decoding.wall - coding.wall
        return {"encode": encoding.wall, "decode": decoding.wall, "coder": coding.wall, "networks": networks}

    return one_round


def _stages(tokenizer: ImageTokenizer, tokens: Tokens) -> Iterator[Any]:
    """Place and table indices of each stage, as the networks predict them for an image of one band."""
    assert tokenizer.entropy_model is not None
    assert tokens.quality_index is not None
    codes = tokens.codes.numpy()
    with torch.inference_mode():
        choices = tokenizer.entropy_model.choose((1, *codes.shape[2:]), tokens.quality_index)
        place, tables = next(choices)
        while True:
            yield place, tables
            try:
                place, tables = choices.send(codes[place])
            except StopIteration:
                return


def _decode_with_known_tables(tokenizer: ImageTokenizer, tokens: Tokens, data: bytes, recorded: list[Any]) -> None:
    """Decode a stream with recorded table indices instead of the networks."""
    assert tokenizer.tables is not None

    def choose(*_: object) -> Any:
        yield from (stage for stage in recorded)  # a generator, which takes what the reader sends

    reader = Reader(data, IndexedTables(tokenizer.tables, choose))
    reader.verify()
    (chunk,) = reader
    assert np.array_equal(chunk.codes, tokens.codes)


def _mbt2018_mean(x: Pixels, quality: float) -> Callable[[], Round]:
    """One round of CompressAI: to strings and back."""
    from compressai.models import MeanScaleHyperprior  # type: ignore[import-untyped]

    torch.manual_seed(SEED)
    model: Any = MeanScaleHyperprior(*(SMALL if quality < 4.5 else LARGE)).eval()
    model.entropy_bottleneck.update(force=True)
    model.update(force=True)

    @torch.inference_mode()
    def one_round() -> Round:
        batch = torch.from_numpy(np.ascontiguousarray(x)).float()[None] / 255
        coded, encoding = timed(lambda: model.compress(batch))
        _, decoding = timed(lambda: model.decompress(coded["strings"], coded["shape"]))
        return {"encode": encoding.wall, "decode": decoding.wall}

    return one_round


def _flops(tokenizer: ImageTokenizer, x: Pixels, quality: float) -> dict[str, float]:
    """FLOPs per pixel of decoding: convolutions and matrix products."""
    data, pixels = tokenizer.compress(tokenizer.encode(x, quality=quality, effort=0)), HEIGHT * WIDTH
    with FlopCounterMode(display=False) as of_entropy_model:
        tokenizer.decompress(data)
    with FlopCounterMode(display=False) as of_all:
        tokenizer.decode_signal(data)
    model, total = of_entropy_model.get_total_flops() / pixels, of_all.get_total_flops() / pixels
    return {
        "entropy_model_flops_per_pixel": model,
        "decoder_flops_per_pixel": total - model,
        "flops_per_pixel": total,
    }


if __name__ == "__main__":
    run(main)
