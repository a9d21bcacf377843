"""Peak memory of encoding and decoding small and large images, and whether tiles give the codes of the whole.

    python benchmarks/image_memory.py --model image

Every step runs in a fresh process. The images are made once, in a temporary folder that is removed at the end.
"""

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from common import (
    LOAD,
    argument_parser,
    check_positive,
    codec_script,
    emit,
    fail,
    load_image_model,
    measured,
    run,
    show,
)

MAKE_IMAGE = """
import sys, numpy as np
from PIL import Image
path, side = sys.argv[1], int(sys.argv[2])
coarse = np.random.default_rng(0).integers(0, 256, (side // 32, side // 32, 3), np.uint8)
grain = Image.effect_noise((side, side), 20).convert("RGB")
Image.blend(Image.fromarray(coarse).resize((side, side)), grain, 0.3).save(path, compress_level=1)
"""


def main() -> None:
    """Measure the steps for each size, then compare tiles with the whole."""
    parser = argument_parser(__doc__)
    parser.add_argument("--model", default="image", help="name or folder of a narrows model (default: image)")
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 8192], help="in pixels (default: 512 8192)")
    parser.add_argument("--check", type=int, default=2048, help="side of the image for the check (default: 2048)")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (default: 2)")
    arguments = parser.parse_args()
    check_positive(parser, arguments, "threads")
    if min(*arguments.sides, arguments.check) < 32:
        parser.error("expected --sides and --check of at least 32")
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)  # for the child processes

    settings = {"benchmark": "image_memory", "model": arguments.model, "threads": arguments.threads}
    sides = sorted(set(arguments.sides))
    with tempfile.TemporaryDirectory() as folder:
        images = {side: Path(folder) / f"{side}.png" for side in {*sides, arguments.check}}
        for side, path in images.items():  # in a child: the memory of a process is counted for its children too
            measured([sys.executable, "-c", MAKE_IMAGE, str(path), str(side)])
        records = [settings | {"step": "load"} | _cost([sys.executable, "-c", LOAD, arguments.model], 0)]
        emit(records[0])
        for side in sides:
            for step, command in _steps(arguments.model, images[side]).items():
                records.append(settings | {"step": step} | _cost(command, side))
                emit(records[-1])
        for step in dict.fromkeys(record["step"] for record in records[1:]):
            peaks = [record["peak_mib"] for record in records if record["step"] == step]
            emit(settings | {"growth_of": step, "from": sides[0], "to": sides[-1], "mib": peaks[-1] - peaks[0]})
        show(records, ["step", "side", "peak_mib", "wall_s", "cpu_s", "megapixel_per_s"])
        check = settings | _tiles_against_whole(arguments.model, images[arguments.check], arguments.check)
        emit(check)
    counts = f"{check['codes_different']} of {check['codes']} codes, {check['samples_different']} of {check['samples']}"
    print(f"tiles against whole, side of {arguments.check} pixels: {counts} samples differ", file=sys.stderr)


def _steps(model: str, path: Path) -> dict[str, list[str]]:
    """The commands for one image, in the order in which they must run."""
    codec, stream, decoded = codec_script(), path.with_suffix(".nrw"), path.with_suffix(".decoded.png")
    return {
        "codec encode": [codec, "encode", str(path), "-m", model, "-o", str(stream)],
        "codec decode": [codec, "decode", str(stream), "-m", model, "-o", str(decoded)],
    }


def _cost(command: Sequence[str], side: int) -> dict[str, float | int | None]:
    """Peak memory and times of a command for a square image of this side."""
    cost, _ = measured(command)
    speed = side**2 / 1e6 / cost.wall_seconds if side else None  # includes the start of the program
    times = {"wall_s": cost.wall_seconds, "cpu_s": cost.cpu_seconds, "megapixel_per_s": speed}
    return {"side": side, "peak_mib": cost.peak_mib, **times}


def _tiles_against_whole(model: str, path: Path, side: int) -> dict[str, str | int]:
    """How many codes and samples of an image differ between tiles and one pass of each network over all of it."""
    import numpy as np  # only now: the memory of a process is counted for its children too
    import torch

    from narrows.media import image

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    tokenizer = load_image_model(model)
    codec, entropy_model = tokenizer.codec, tokenizer.entropy_model
    assert entropy_model is not None
    if side % tokenizer.block[0] or side % tokenizer.block[1]:
        fail(f"expected --check of a multiple of {max(tokenizer.block)} for this model, got {side}")
    tokens = tokenizer.encode(image.read(path).pixels, effort=0)
    index = tokens.quality_index
    assert index is not None
    tiled = tokenizer.decode_signal(tokens).pixels.astype(int)
    x = torch.from_numpy(image.read(path).pixels.astype(np.float32)) / 127.5 - 1
    with torch.inference_mode():
        bands = codec.encoder(x[None]).split(tokens.steps, 2)  # each of them is coded separately
        codes = torch.cat([entropy_model.encode(band, index, tokenizer.bit_costs) for band in bands], 2)
        bands = [entropy_model.decode(band.long(), index) for band in tokens.codes.split(tokens.steps, 2)]
        latents = torch.cat(bands, 2).contiguous(memory_format=torch.channels_last)  # as tiles are decoded
        decoded = codec.synthesize(latents, index)[0].clamp(-1, 1)
        whole = ((decoded + 1) * 127.5).round().int().numpy()
    return {
        "check": "tiles against whole",
        "side": side,
        "tile": tokenizer.tiles.side * max(codec.stride),
        "codes": codes.numel(),
        "codes_not_zero": int((codes != 2048).sum()),
        "codes_different": int((tokens.codes != codes).sum()),
        "samples": whole.size,
        "samples_different": int((tiled != whole).sum()),
        "largest_difference": int(abs(tiled - whole).max()),
    }


if __name__ == "__main__":
    run(main)
