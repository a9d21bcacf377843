"""Quality of decoded speech with bit errors: FSQ, Gray-coded FSQ and residual VQ, trained the same way at one rate.

    python benchmarks/bit_flips.py --data DIR > bit_flips.jsonl

DIR holds speech at 16 kHz in train/ and valid/. For each seed two codecs of 6 codebooks of 256 codes, 50 frames per
second, 2.4 kbit/s, are trained that differ in the bottleneck only. The Gray-coded FSQ is the trained FSQ with other
indices. Codes of the recordings in valid/ have 8 bits each; every bit is flipped with probability p, and the decoded
signal is compared with the original. This is a small version of the experiment of NeuCodec (Julian et al., arXiv
2509.09550).
"""

import time
from collections.abc import Mapping
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from common import argument_parser, check_positive, emit, mean_and_std, run, show
from torch import Tensor

from narrows.codecs import FSQ, Bottleneck, Codec, FrameDecoder, FrameEncoder, ResidualVQ
from narrows.evaluation.alignment import align
from narrows.evaluation.base import Metric
from narrows.evaluation.metrics import metric
from narrows.media.audio import Audio
from narrows.recipes.data.audio import AudioCrops, AudioFiles
from narrows.recipes.initialization.pca import initialize_pca
from narrows.recipes.losses.frames import FrameMagnitudeLoss
from narrows.recipes.losses.stft import ComplexSTFTLoss, MultiResolutionSTFTLoss

SAMPLE_RATE = 16_000  # Hz
DIM, WIDTH, CODEBOOKS, BITS = 24, 128, 6, 8
LEVELS = (4,) * (BITS // 2)
FLIPS = (0.0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
METRICS = ("mel-level-difference", "estoi", "pesq-wb")
SIGNAL_LOSS_FRACTION = 0.25  # of the steps, at the end, with losses on the decoded signal, which learn its phases


def bottlenecks() -> dict[str, Bottleneck]:
    """The bottlenecks that are compared, by name: DIM latent channels, CODEBOOKS codes of BITS bits."""
    return {
        "fsq": FSQ(DIM, LEVELS, groups=CODEBOOKS),
        "rvq": ResidualVQ(DIM, CODEBOOKS, 2**BITS, code_dim=DIM, dropout=0.0),
    }


def initial_codec(name: str, recordings: AudioFiles, seed: int) -> Codec:
    """A codec with the bottleneck `name` and PCA initialisation, the same for all bottlenecks.

    All principal components have the same variance, so neither FSQ nor residual VQ gains from giving some more bits.
    """
    torch.manual_seed(seed)
    encoder = FrameEncoder(DIM, width=WIDTH, depth=2)
    decoder = FrameDecoder(DIM, width=WIDTH, depth=3, iterations=4)
    codec = Codec(encoder, FSQ(DIM, LEVELS, groups=CODEBOOKS), decoder)
    initialize_pca(codec, recordings)
    if name != "fsq":
        codec.bottleneck = bottlenecks()[name]
    return codec.train()


def trained(name: str, recordings: AudioFiles, steps: int, seed: int) -> Codec:
    """Train a codec with the bottleneck `name`; initial weights, crops and losses depend on the seed only."""
    codec = initial_codec(name, recordings, seed)
    (stride,) = codec.stride
    frames, waves = FrameMagnitudeLoss(), ComplexSTFTLoss(512)
    spectral = MultiResolutionSTFTLoss(SAMPLE_RATE, ((512, 64), (1024, 96)))
    optimizer = torch.optim.AdamW(codec.parameters(), lr=1e-3, betas=(0.8, 0.99), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps, pct_start=0.1)
    batch = 8
    crops = AudioCrops(recordings, SAMPLE_RATE // stride * stride, steps * batch, (seed,))
    for step in range(steps):
        x = torch.stack([crops[step * batch + i] for i in range(batch)])
        quantized = codec.bottleneck(codec.encoder(x))
        assert isinstance(codec.decoder, FrameDecoder)
        loss = frames(codec.decoder, quantized.latents, x) + 0.25 * sum(quantized.losses.values())
        if step >= steps * (1 - SIGNAL_LOSS_FRACTION):
            y = codec.decoder(quantized.latents)
            loss = loss + spectral(y, x) + 0.5 * waves(y, x)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(codec.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return codec.eval()


def gray(codec: Codec) -> Codec:
    """The same codec with Gray-coded FSQ indices."""
    bottleneck = FSQ(DIM, LEVELS, groups=CODEBOOKS, gray=True)
    bottleneck.load_state_dict(codec.bottleneck.state_dict())
    return Codec(codec.encoder, bottleneck, codec.decoder).eval()


def flipped(codes: Tensor, p: float, generator: torch.Generator) -> Tensor:
    """Flip each bit of codes of BITS bits with probability p."""
    flips = torch.rand(*codes.shape, BITS, generator=generator) < p
    return codes ^ (flips << torch.arange(BITS)).sum(-1)


@torch.no_grad()
def scores(codec: Codec, recordings: list[Tensor], p: float, seed: int) -> Mapping[str, float]:
    """Mean of each metric over recordings (T,) decoded from codes with bit errors of probability p."""
    generator = torch.Generator().manual_seed(seed)
    values: dict[str, list[float]] = {name: [] for name in METRICS}
    for x in recordings:
        y = codec.decode(flipped(codec.encode(x.view(1, 1, -1)), p, generator))[0, 0].numpy()
        reference = Audio(x.numpy()[None], SAMPLE_RATE)
        decoded, _ = align(Audio(np.nan_to_num(y)[None], SAMPLE_RATE), reference)
        for name in METRICS:
            known = metric(name)
            assert isinstance(known, Metric)
            values[name].append(known.measure(reference, decoded))
    return {name: mean(of_metric) for name, of_metric in values.items()}


def measure(data: Path, steps: int, seeds: int, files: int) -> None:
    """Print a record for each bottleneck, p and seed, then the mean and standard deviation over seeds."""
    train, valid = AudioFiles(data / "train", SAMPLE_RATE), AudioFiles(data / "valid", SAMPLE_RATE)
    (stride,) = FrameEncoder(DIM, width=WIDTH, depth=1).stride
    recordings = [
        torch.from_numpy(valid[i][0, : 4 * SAMPLE_RATE // stride * stride]) for i in range(min(files, len(valid)))
    ]
    recordings = [x[: len(x) // stride * stride] for x in recordings]
    results: dict[tuple[str, float], list[Mapping[str, float]]] = {}
    for seed in range(seeds):
        codecs = {}
        for name in bottlenecks():
            start = time.process_time()
            codecs[name] = trained(name, train, steps, seed)
            emit(
                {
                    "benchmark": "bit_flips",
                    "trained": name,
                    "seed": seed,
                    "steps": steps,
                    "cpu_seconds": time.process_time() - start,
                }
            )
        codecs["fsq, gray"] = gray(codecs["fsq"])
        for name, codec in codecs.items():
            for p in FLIPS:
                metrics = scores(codec, recordings, p, seed)
                emit({"benchmark": "bit_flips", "bottleneck": name, "p": p, "seed": seed, **metrics})
                results.setdefault((name, p), []).append(metrics)
    rows = []
    for (name, p), runs in results.items():
        row: dict[str, object] = {
            "benchmark": "bit_flips",
            "bottleneck": name,
            "p": p,
            "seeds": seeds,
            "files": len(recordings),
        }
        rows.append(row | mean_and_std(runs))
        emit(rows[-1])
    show(rows, ("bottleneck", "p", *METRICS))


def main() -> None:
    """Train and measure."""
    parser = argument_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and valid/ of speech")
    parser.add_argument("--steps", type=int, default=400, help="training steps of 8 crops of one second")
    parser.add_argument("--seeds", type=int, default=3, help="training runs of each codec")
    parser.add_argument("--files", type=int, default=8, help="recordings that are decoded, up to 4 seconds of each")
    arguments = parser.parse_args()
    check_positive(parser, arguments, "steps", "seeds", "files")
    torch.set_num_threads(1)  # same sums on any number of cores, and no slower for layers this small
    measure(arguments.data, arguments.steps, arguments.seeds, arguments.files)


if __name__ == "__main__":
    run(main)
