"""Speed and peak memory of the video networks, beside diffusers' AutoencoderKLCogVideoX and AutoencoderKLWan.

    python benchmarks/video_networks.py --threads 1

All networks have random weights, on which speed does not depend, and the published sizes of diffusers' defaults. Each
runs in a fresh process, on one clip. Peak memory is that of the process above its peak before the first frame.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from common import argument_parser, check_positive, emit, measured_json, peak_mib, run, show

NETWORKS = ("factorised", "wavelet", "cogvideox", "wan")
CHILD = "--child"


def main() -> None:
    """Measure each network in a process of its own."""
    if len(sys.argv) > 1 and sys.argv[1] == CHILD:
        print(json.dumps(_measured(sys.argv[2], *map(int, sys.argv[3:]))))
        return
    parser = argument_parser(__doc__)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS, help="which (default: all)")
    parser.add_argument("--frames", type=int, default=17, help="4 k + 1 (default: 17)")
    parser.add_argument("--side", type=int, default=256, help="in pixels, a multiple of 8 (default: 256)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default: 1)")
    arguments = parser.parse_args()
    check_positive(parser, arguments, "frames", "threads")
    if arguments.frames % 4 != 1 or arguments.side % 8 or arguments.side < 8:
        parser.error("expected --frames of 4 k + 1 and --side of a multiple of 8")
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    records = []
    for name in arguments.networks:
        sizes = [str(value) for value in (arguments.frames, arguments.side, arguments.threads)]
        _, record = measured_json([sys.executable, __file__, CHILD, name, *sizes])
        settings = {"benchmark": "video_networks", "network": name, "frames": arguments.frames, "side": arguments.side}
        records.append(settings | {"threads": arguments.threads} | record)
        emit(records[-1])
    columns = ["network", "million_parameters", "encode_fps", "decode_fps", "encode_mib", "decode_mib"]
    show(records, columns)


def _measured(name: str, frames: int, side: int, threads: int) -> dict[str, float]:
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    with torch.inference_mode():
        parameters, encode, decode = _network(name)
        x = torch.rand(1, 3, frames, side, side) * 2 - 1
        before = peak_mib()
        z, encoding = _timed(lambda: encode(x))
        after_encode = peak_mib()
        made, decoding = _timed(lambda: decode(z))
        assert made.shape == x.shape
    return {
        "million_parameters": parameters / 1e6,
        "encode_fps": frames / encoding,
        "decode_fps": frames / decoding,
        "encode_mib": after_encode - before,
        "decode_mib": peak_mib() - before,  # at least that of encoding, in the same process
        "process_mib": peak_mib(),
    }


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """The result and the wall time of a call, of the second one if the first is short."""
    begin = time.perf_counter()
    result = call()
    seconds = time.perf_counter() - begin
    if seconds < 5:
        begin = time.perf_counter()
        result = call()
        seconds = time.perf_counter() - begin
    return result, seconds


def _network(name: str) -> tuple[int, Callable[[Any], Any], Callable[[Any], Any]]:
    """The number of parameters, encode and decode of a network."""
    import torch

    if name in ("cogvideox", "wan"):
        import diffusers

        model: Any = (diffusers.AutoencoderKLWan if name == "wan" else diffusers.AutoencoderKLCogVideoX)().eval()
        count = sum(parameter.numel() for parameter in model.parameters())
        return count, lambda x: model.encode(x).latent_dist.mode(), lambda z: model.decode(z).sample

    from narrows.codecs import FactorisedDecoder, FactorisedEncoder, WaveletDecoder, WaveletEncoder

    encoder: Any = (FactorisedEncoder() if name == "factorised" else WaveletEncoder()).eval()
    decoder: Any = (FactorisedDecoder() if name == "factorised" else WaveletDecoder()).eval()
    count = sum(parameter.numel() for parameter in [*encoder.parameters(), *decoder.parameters()])

    def encode(x: Any) -> Any:  # an image is a clip of one frame, which is repeated in front
        return encoder(torch.cat((x[:, :, :1].expand(-1, -1, 3, -1, -1), x), 2))

    return count, encode, lambda z: decoder(z)[:, :, 3:]


if __name__ == "__main__":
    run(main)
