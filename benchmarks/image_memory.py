"""Peak memory of encoding and decoding small and large pictures, and whether tiles give the codes of the whole.

    python benchmarks/image_memory.py --model image

Every step runs in a fresh process. The pictures are made once, in a temporary folder that is removed at the end.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from common import codec_script, emit, fail, measured, run, show

LOAD = "import sys, narrows; narrows.load(sys.argv[1])"
MAKE = """
import sys, numpy as np
from PIL import Image
path, side = sys.argv[1], int(sys.argv[2])
coarse = np.random.default_rng(0).integers(0, 256, (side // 32, side // 32, 3), np.uint8)
grain = Image.effect_noise((side, side), 20).convert("RGB")
Image.blend(Image.fromarray(coarse).resize((side, side)), grain, 0.3).save(path, compress_level=1)
"""


def main() -> None:
    """Measure the steps for each size, then compare tiles with the whole."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="image", help="name or folder of a narrows model (default: image)")
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 8192], help="pixels a side (default: 512 8192)")
    parser.add_argument("--check", type=int, default=2048, help="side of the picture for the check (default: 2048)")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (default: 2)")
    arguments = parser.parse_args()
    if min(*arguments.sides, arguments.check) < 32:
        parser.error("--sides and --check must be at least 32")
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)  # for the children

    setting = {"benchmark": "image_memory", "model": arguments.model, "threads": arguments.threads}
    sides = sorted(set(arguments.sides))
    with tempfile.TemporaryDirectory() as folder:
        pictures = {side: Path(folder) / f"{side}.png" for side in {*sides, arguments.check}}
        for side, path in pictures.items():  # in a child: a parent's memory counts as its children's
            measured([sys.executable, "-c", MAKE, str(path), str(side)])
        records = [setting | {"step": "load"} | _cost([sys.executable, "-c", LOAD, arguments.model], 0)]
        emit(records[0])
        for side in sides:
            for step, command in _steps(arguments.model, pictures[side]).items():
                records.append(setting | {"step": step} | _cost(command, side))
                emit(records[-1])
        for step in dict.fromkeys(record["step"] for record in records[1:]):
            peaks = [record["peak_mib"] for record in records if record["step"] == step]
            emit(setting | {"growth_of": step, "from": sides[0], "to": sides[-1], "mib": peaks[-1] - peaks[0]})
        show(records, ["step", "side", "peak_mib", "wall_s", "cpu_s", "megapixel_per_s"])
        check = setting | _tiles_against_whole(arguments.model, pictures[arguments.check], arguments.check)
        emit(check)
    counts = f"{check['codes_different']} of {check['codes']} codes, {check['samples_different']} of {check['samples']}"
    print(f"tiles against whole, {arguments.check} pixels a side: {counts} samples differ", file=sys.stderr)


def _steps(model: str, path: Path) -> dict[str, list[str]]:
    """The commands of one picture, in the order in which they must run."""
    codec, stream, decoded = codec_script(), path.with_suffix(".nrw"), path.with_suffix(".decoded.png")
    return {
        "codec encode": [codec, "encode", str(path), "-m", model, "-o", str(stream)],
        "codec decode": [codec, "decode", str(stream), "-m", model, "-o", str(decoded)],
    }


def _cost(command: Sequence[str], side: int) -> dict[str, float | int | None]:
    """Peak memory and times of a command that works on a picture of so many pixels a side."""
    cost, _ = measured(command)
    speed = side**2 / 1e6 / cost.wall_seconds if side else None  # with the start of the program
    times = {"wall_s": cost.wall_seconds, "cpu_s": cost.cpu_seconds, "megapixel_per_s": speed}
    return {"side": side, "peak_mib": cost.peak_mib, **times}


def _tiles_against_whole(model: str, path: Path, side: int) -> dict[str, str | float | int]:
    """How many codes and samples of a picture differ between tiles and one pass of each network over all of it."""
    import numpy as np  # only now: a parent's memory counts as its children's
    import torch

    import narrows
    from narrows.media import image

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    tokenizer = narrows.load(model)
    codec, entropy_model = tokenizer.codec, tokenizer.model
    if entropy_model is None or side % tokenizer.block:
        fail(f"this check needs an entropy model and sides of multiples of {tokenizer.block}")
    tokens = tokenizer.encode_file(path)
    tiled = tokenizer.pixels(tokens).astype(int)
    x = torch.from_numpy(image.read(path).pixels.astype(np.float32)) / 127.5 - 1
    with torch.inference_mode():
        bands = codec.encoder(x[None]).split(tokens.steps, 2)  # each of them is coded on its own
        codes = torch.cat([entropy_model.encode(band, tokens.quality_index, tokenizer.bit_costs) for band in bands], 2)
        bands = [
            entropy_model.decode(band.long(), tokens.quality_index) for band in tokens.codes.split(tokens.steps, 2)
        ]
        whole = codec.synthesize(torch.cat(bands, 2), tokens.quality_index)[0].clamp(-1, 1)
        whole = ((whole + 1) * 127.5).round().int().numpy()
    return {
        "check": "tiles against whole",
        "side": side,
        "tile": tokenizer.tiles.side * codec.stride,
        "codes": codes.numel(),
        "codes_not_zero": int((codes != 2048).sum()),
        "codes_different": int((tokens.codes != codes).sum()),
        "samples": whole.size,
        "samples_different": int((tiled != whole).sum()),
        "largest_difference": int(abs(tiled - whole).max()),
    }


if __name__ == "__main__":
    run(main)
