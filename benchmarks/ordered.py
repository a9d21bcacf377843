"""Nested dropout and automatic relevance determination (ARD) on image patches: cost of the order, sizes found.

    python benchmarks/ordered.py --data DIR > ordered.jsonl

DIR holds photographs in train/ and valid/. An autoencoder of two small networks codes grey patches of 8 x 8 pixels.

- Nested dropout: one `Ordered` of 8 FSQ codebooks of 64 codes each, decoded from prefixes of 1, 2, 4 and 8, compared
  with codecs trained for one of these sizes each, and with prefixes of the codec trained for size 8 without dropout.
- ARD: active channels found with two numbers of channels, and the loss by pruning to them.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from common import argument_parser, check_positive, emit, image_files, mean_and_std, run, show
from PIL import Image
from torch import Tensor, nn

from narrows.codecs import ARD, FSQ, Bottleneck, Gaussian, Ordered

PATCH, DIM, WIDTH = 8, 48, 256
SIZES = (1, 2, 4, 8)  # numbers of codebooks of 64 codes, each 6 bits per patch
CHANNELS = (16, 32)
RATE_WEIGHTS = (0.001, 0.004)  # of the divergence in nats per patch, against the mean squared error per pixel


class Patches(nn.Module):
    """An autoencoder of patches (N, 64): encoder, bottleneck, decoder."""

    def __init__(self, bottleneck: Bottleneck) -> None:
        super().__init__()
        pixels = PATCH * PATCH
        self.encoder = nn.Sequential(nn.Linear(pixels, WIDTH), nn.GELU(), nn.Linear(WIDTH, DIM))
        self.bottleneck = bottleneck
        self.decoder = nn.Sequential(nn.Linear(DIM, WIDTH), nn.GELU(), nn.Linear(WIDTH, pixels))

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Patches (N, 64) to decoded patches and the bottleneck's losses."""
        quantized = self.bottleneck(self.encoder(x).unsqueeze(-1))
        return self.decoder(quantized.latents.squeeze(-1)), quantized.losses

    def prefix(self, x: Tensor, codebooks: int) -> Tensor:
        """Patches decoded from the first codebooks of an `Ordered`."""
        assert isinstance(self.bottleneck, Ordered)
        latents = self.bottleneck.prefix(self.encoder(x).unsqueeze(-1), codebooks).squeeze(-1)
        decoded: Tensor = self.decoder(latents)
        return decoded

    def bits(self, x: Tensor) -> float:
        """Mean bits per patch of patches (N, 64)."""
        return float(self.bottleneck(self.encoder(x).unsqueeze(-1)).bits.mean())


def patches(folder: Path, count: int) -> Tensor:
    """Grey patches (count, 64) at random places of the photographs in a folder, black -1, white 1."""
    paths = image_files(folder)
    paths = paths[:: max(1, len(paths) // 150)]
    rng = np.random.default_rng(0)
    found = []
    for path in paths:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("L"), dtype=np.float32) / 127.5 - 1
        for _ in range(-(-count // len(paths))):
            top, left = (int(rng.integers(size - PATCH + 1)) for size in pixels.shape)
            found.append(pixels[top : top + PATCH, left : left + PATCH].reshape(-1))
    return torch.from_numpy(np.stack(found)[:count])


def trained(make: Callable[[], Bottleneck], x: Tensor, steps: int, seed: int, weight: float = 0.0) -> Patches:
    """An autoencoder of patches x (N, 64), trained on the mean squared error plus `weight` times the other losses."""
    torch.manual_seed(seed)
    model = Patches(make()).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.1)
    for _ in range(steps):
        batch = x[torch.randint(len(x), (512,))]
        y, losses = model(batch)
        loss = (y - batch).square().mean() + weight * sum(losses.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def psnr(y: Tensor, x: Tensor) -> float:
    """PSNR in dB of all patches together; the range of values is 2."""
    return float(10 * torch.log10(4 / (y - x).square().mean()))


def codebooks(count: int, dropout: float) -> Callable[[], Bottleneck]:
    """A function that makes an `Ordered` of this number of codebooks of 64 codes."""
    return lambda: Ordered([FSQ(DIM, (4, 4, 4)) for _ in range(count)], dropout=dropout)


@torch.no_grad()
def nested(train: Tensor, valid: Tensor, steps: int, seeds: int) -> None:
    """Print the PSNR of each size: nested dropout, trained for this size, and the largest without dropout truncated."""
    runs: dict[int, list[dict[str, float]]] = {size: [] for size in SIZES}
    for seed in range(seeds):
        with torch.enable_grad():
            ordered = trained(codebooks(SIZES[-1], 1.0), train, steps, seed)
            own = {size: trained(codebooks(size, 0.0), train, steps, seed) for size in SIZES}
        for size in SIZES:
            models = {"nested_db": ordered, "own_size_db": own[size], "truncated_db": own[SIZES[-1]]}
            values = {name: psnr(model.prefix(valid, size), valid) for name, model in models.items()}
            emit({"benchmark": "ordered", "codebooks": size, "seed": seed, **values})
            runs[size].append(values)
    rows = []
    for size in SIZES:
        row: dict[str, object] = {"benchmark": "ordered", "codebooks": size, "bits_per_pixel": 6 * size / PATCH**2}
        rows.append(row | {"seeds": seeds} | mean_and_std(runs[size]))
        emit(rows[-1])
    show(rows, ("codebooks", "bits_per_pixel", "nested_db", "own_size_db", "truncated_db"))


@torch.no_grad()
def relevance(train: Tensor, valid: Tensor, steps: int, seeds: int) -> None:
    """Print the active channels that ARD finds, its PSNR before and after pruning, and that of a Gaussian."""
    rows = []
    for weight in RATE_WEIGHTS:
        for channels in CHANNELS:
            settings: dict[str, object] = {"benchmark": "ordered", "rate_weight": weight, "channels": channels}
            runs = []
            for seed in range(seeds):
                with torch.enable_grad():
                    model = trained(partial(ARD, DIM, channels), train, steps, seed, weight)
                    gaussian = trained(partial(Gaussian, DIM, channels), train, steps, seed, weight)
                values = {"psnr_db": psnr(model(valid)[0], valid), "bits": model.bits(valid)}
                assert isinstance(model.bottleneck, ARD)
                model.bottleneck = model.bottleneck.prune()
                values |= {
                    "active": float(model.bottleneck.channels),
                    "pruned_db": psnr(model(valid)[0], valid),
                    "gaussian_db": psnr(gaussian(valid)[0], valid),
                    "gaussian_bits": gaussian.bits(valid),
                }
                emit(settings | {"seed": seed} | values)
                runs.append(values)
            rows.append(settings | {"seeds": seeds} | mean_and_std(runs))
            emit(rows[-1])
    columns = ("active", "psnr_db", "pruned_db", "bits", "gaussian_db", "gaussian_bits")
    show(rows, ("rate_weight", "channels", *columns))


def main() -> None:
    """Train and measure."""
    parser = argument_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and valid/ of photographs")
    parser.add_argument("--steps", type=int, default=1000, help="training steps of 512 patches each")
    parser.add_argument("--seeds", type=int, default=3, help="training runs of each autoencoder")
    arguments = parser.parse_args()
    check_positive(parser, arguments, "steps", "seeds")
    torch.set_num_threads(1)  # sums do not depend on the number of cores, and small layers gain nothing from more
    begin = time.process_time()
    train, valid = patches(arguments.data / "train", 60_000), patches(arguments.data / "valid", 10_000)
    nested(train, valid, arguments.steps, arguments.seeds)
    relevance(train, valid, arguments.steps, arguments.seeds)
    emit({"benchmark": "ordered", "cpu_seconds": time.process_time() - begin})


if __name__ == "__main__":
    run(main)
