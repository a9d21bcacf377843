"""Is a clip coded in blocks, tiles and parts the same as the whole clip at once?

    python benchmarks/video_equality.py [--model video]

The largest absolute difference, in latents and in frames in [-1, 1], over

    steps    all 256 splits of 33 frames at latent frames, with `step` of encoder and decoder, from `forward`
    blocks   blocks of 1, 2, 3, 4 and 8 latent frames, in VideoTokenizer
    tiles    tiles of several sizes, from the smallest one on, from a frame in one piece
    parts    `decode` of parts of 121 frames

and the number of codes that differ. The networks are those of a model, and others with random weights.
"""

from collections.abc import Iterable, Iterator
from itertools import combinations, pairwise
from typing import Any

from common import argument_parser, check_positive, emit, run, show

FRAMES, LONG = 33, 121
SIDE = 40
BLOCKS = (1, 2, 3, 4, 8)
NETWORKS = ("model", "attention", "full", "wavelet")
WHOLE = 1 << 16  # latent positions: larger than any frame


def main() -> None:
    """Print a line for each network."""
    parser = argument_parser(__doc__)
    parser.add_argument("--model", default="video", help="name or folder of a video model (default: video)")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS, help="which (default: all)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default: 1)")
    arguments = parser.parse_args()
    check_positive(parser, arguments, "threads")

    import torch

    torch.set_num_threads(arguments.threads)
    records = []
    for name in arguments.networks:
        torch.manual_seed(0)
        settings = {"benchmark": "video_equality", "network": name, "threads": arguments.threads}
        with torch.inference_mode():
            found = _differences(_tokenizer(name, arguments.model))
        records.append(settings | {key: _shown(value) for key, value in found.items()})
        emit(records[-1])
    show(records, ["network", *found])


def _shown(value: float) -> float | str:
    """Two digits of a small difference, which would be rounded to 0."""
    return f"{value:.1e}" if isinstance(value, float) and value else value


def _tokenizer(name: str, model: str) -> Any:
    """The VideoTokenizer of a network."""
    import narrows
    from narrows.codecs import FSQ, Codec, FactorisedDecoder, FactorisedEncoder, WaveletDecoder, WaveletEncoder
    from narrows.tokenizers.video import VideoTokenizer

    if name == "model":
        return narrows.load(model)
    if name == "wavelet":
        encoder, decoder = WaveletEncoder(width=16, depth=1, flow=8), WaveletDecoder(width=16, depth=1, flow=8)
        codec = Codec(encoder, FSQ(16, (8, 8, 8, 5, 5, 5)), decoder)
    else:
        options: dict[str, Any] = {"attention": 3} if name == "attention" else {"depthwise": False, "depths": (1, 1)}
        codec = Codec(FactorisedEncoder(**options), FSQ(64, (8, 8, 8, 5, 5, 5)), FactorisedDecoder(**options))
    tokenizer = VideoTokenizer(codec.eval())
    tokenizer.name = name
    return tokenizer


def _differences(tokenizer: Any) -> dict[str, float | int]:
    """All differences of a tokenizer."""
    codec = tokenizer.codec
    side = max(_smallest(codec.encoder), _smallest(codec.decoder))
    wide = _clip(FRAMES, SIDE, 2 * side * codec.stride[2] + 8)
    return {
        **_of_steps(codec),
        **_of_blocks(tokenizer, _clip(FRAMES, SIDE, SIDE)),
        **_of_tiles(tokenizer, wide, (side, side + 3, side + side // 2)),
        "parts_frames": _of_parts(tokenizer, _clip(LONG, SIDE, SIDE)),
    }


def _smallest(network: Any) -> int:
    """The smallest side of a tile, in latent positions."""
    return 4 * max(max(reach) for reach in network.reach[1:])


def _clip(frames: int, height: int, width: int) -> Any:
    """A clip (3, T, H, W) of moving waves and noise."""
    import torch

    t, y, x = torch.meshgrid(torch.arange(frames), torch.arange(height), torch.arange(width), indexing="ij")
    waves = [torch.sin((x + 3 * t) / 11 + c) * torch.cos((y - 2 * t) / 7 + c) for c in range(3)]
    return (0.6 * torch.stack(waves) + 0.1 * torch.randn(1, frames, height, width)).clamp(-1, 1).numpy()


def _of_steps(codec: Any) -> dict[str, float]:
    """Every split of a clip, with `step`."""
    import torch

    stride = codec.stride[0]
    x = torch.from_numpy(_clip(FRAMES, SIDE, SIDE))[None]
    x = torch.cat((x[:, :, :1].expand(-1, -1, stride - 1, -1, -1), x), 2)  # as VideoTokenizer does
    z = codec.encoder(x)
    y = codec.decoder(z)
    latents, frames = [0.0], [0.0]
    for sizes in _splits(z.shape[2]):
        latents.append(_largest(z, _stepped(codec.encoder, x.split([stride * size for size in sizes], 2))))
        frames.append(_largest(y, _stepped(codec.decoder, z.split(sizes, 2))))
    return {"steps_latents": max(latents), "steps_frames": max(frames)}


def _splits(count: int) -> Iterator[list[int]]:
    """All ways to split `count` elements into consecutive parts."""
    for parts in range(count):
        for cuts in combinations(range(1, count), parts):
            places = [0, *cuts, count]
            yield [b - a for a, b in pairwise(places)]


def _stepped(network: Any, pieces: Iterable[Any]) -> Any:
    import torch

    state, made = network.start(1), []
    for piece in pieces:
        out, state = network.step(piece, state)
        made.append(out)
    return torch.cat(made, 2)


def _of_blocks(tokenizer: Any, clip: Any) -> dict[str, float | int]:
    """Blocks of several lengths, from one block of all frames."""
    import numpy as np

    def coded(block: int) -> tuple[Any, Any, Any]:
        tokenizer.block = block
        tokens = tokenizer.encode(clip, 25)
        grid = tokenizer.grid(tokens.extent)[1:]
        latents = np.concatenate([z.numpy() for z in tokenizer.tiles.encode(clip.swapaxes(0, 1), grid)], 2)
        return latents, tokens.codes.numpy(), np.concatenate(list(tokenizer.decode_blocks(tokens)), 1)

    whole = coded(FRAMES)
    others = [coded(block) for block in BLOCKS]
    del tokenizer.block
    return {
        "blocks_latents": max(_largest(whole[0], other[0]) for other in others),
        "blocks_codes": max(int((whole[1] != other[1]).sum()) for other in others),
        "blocks_frames": max(_largest(whole[2], other[2]) for other in others),
    }


def _of_tiles(tokenizer: Any, clip: Any, sides: tuple[int, ...]) -> dict[str, float | int]:
    """Tiles of several sides, in latent positions, from frames in one piece; decoded from the same codes."""
    import numpy as np

    stride = max(tokenizer.codec.stride[1:])

    def encoded(side: int) -> tuple[Any, Any]:
        tokenizer.tile = side * stride
        tokens = tokenizer.encode(clip, 25)
        grid = tokenizer.grid(tokens.extent)[1:]
        return np.concatenate([z.numpy() for z in tokenizer.tiles.encode(clip.swapaxes(0, 1), grid)], 2), tokens

    def decoded(side: int) -> Any:
        tokenizer.tile = side * stride
        return np.concatenate(list(tokenizer.decode_blocks(whole[1])), 1)

    whole = encoded(WHOLE)
    frames, others = decoded(WHOLE), [encoded(side) for side in sides]
    made = [decoded(side) for side in sides]
    del tokenizer.tile
    return {
        "tiles_latents": max(_largest(whole[0], other[0]) for other in others),
        "tiles_codes": max(int((whole[1].codes != other[1].codes).sum()) for other in others),
        "codes": whole[1].codes.numel(),
        "tiles_frames": max(_largest(frames, other) for other in made),
    }


def _of_parts(tokenizer: Any, clip: Any) -> float:
    """Parts that begin at every seventh frame, of 1, 6 and all further frames."""
    tokens = tokenizer.encode(clip, 1)  # a frame each second
    whole = tokenizer.decode(tokens)
    parts = [(start, stop) for start in range(0, LONG, 7) for stop in (start + 1, min(start + 6, LONG), LONG)]
    return max(_largest(whole[:, start:stop], tokenizer.decode(tokens, start, stop)) for start, stop in parts)


def _largest(x: Any, y: Any) -> float:
    if x.shape != y.shape:
        raise AssertionError(f"expected the same shapes, got {tuple(x.shape)} and {tuple(y.shape)}")
    return float(abs(x - y).max())


if __name__ == "__main__":
    run(main)
