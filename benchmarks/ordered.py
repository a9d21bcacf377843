"""Nested dropout and automatic relevance determination on image patches: what order costs, and what size is found.

    python benchmarks/ordered.py --data DIR > ordered.jsonl

DIR holds photographs in train/ and valid/. An autoencoder of two small networks codes grey patches of 8 x 8 pixels.

- Nested dropout: one `Ordered` of 8 FSQ codebooks of 64 codes each, decoded from prefixes of 1, 2, 4 and 8, next to
  codecs trained for one of these sizes each, and next to the one of size 8 cut to the same prefixes.
- ARD: active channels found from two numbers of channels, and what pruning to them costs.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import torch
from common import emit, fail, run, show
from PIL import Image
from torch import Tensor, nn

from narrows.codecs import ARD, FSQ, Bottleneck, Gaussian, Ordered

PATCH, DIM, WIDTH = 8, 48, 256
SIZES = (1, 2, 4, 8)  # codebooks of 64 codes, 6 bits a patch each
CHANNELS = (16, 32)
RATE_WEIGHTS = (0.001, 0.004)  # of the divergence in nats a patch, next to the mean square error a pixel


class Patches(nn.Module):
    """An autoencoder of patches (N, 64): encoder, bottleneck, decoder."""

    def __init__(self, bottleneck: Bottleneck) -> None:
        super().__init__()
        pixels = PATCH * PATCH
        self.encoder = nn.Sequential(nn.Linear(pixels, WIDTH), nn.GELU(), nn.Linear(WIDTH, DIM))
        self.bottleneck = bottleneck
        self.decoder = nn.Sequential(nn.Linear(DIM, WIDTH), nn.GELU(), nn.Linear(WIDTH, pixels))

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Patches to patches and the bottleneck's losses."""
        quantized = self.bottleneck(self.encoder(x).unsqueeze(-1))
        return self.decoder(quantized.latents.squeeze(-1)), quantized.losses

    def prefix(self, x: Tensor, blocks: int) -> Tensor:
        """Patches through the first blocks of an `Ordered`."""
        assert isinstance(self.bottleneck, Ordered)
        return self.decoder(self.bottleneck.prefix(self.encoder(x).unsqueeze(-1), blocks).squeeze(-1))


def patches(folder: Path, count: int) -> Tensor:
    """Grey patches (count, 64) from all over the photographs of a folder, black -1, white 1."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"})
    if not paths:
        fail(f"{folder} has no pictures; give a folder of photographs with --data")
    paths = paths[:: max(1, len(paths) // 150)]
    draw = np.random.default_rng(0)
    found = []
    for path in paths:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("L"), dtype=np.float32) / 127.5 - 1
        for _ in range(-(-count // len(paths))):
            top, left = (int(draw.integers(size - PATCH + 1)) for size in pixels.shape)
            found.append(pixels[top : top + PATCH, left : left + PATCH].reshape(-1))
    return torch.from_numpy(np.stack(found)[:count])


def trained(make: Callable[[], Bottleneck], x: Tensor, steps: int, seed: int, weight: float = 0.0) -> Patches:
    """An autoencoder of patches x (N, 64), trained on the mean square error and `weight` times the other losses."""
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
    """Peak signal-to-noise ratio in dB of all patches together, peak to peak 2."""
    return float(10 * torch.log10(4 / (y - x).square().mean()))


def blocks(count: int, dropout: float) -> Callable[[], Bottleneck]:
    """So many codebooks of 64 codes."""
    return lambda: Ordered([FSQ(DIM, (4, 4, 4)) for _ in range(count)], dropout=dropout)


@torch.no_grad()
def nested(train: Tensor, valid: Tensor, steps: int, seeds: int) -> None:
    """Print the PSNR of each size: nested, of its own, and cut from a codec that was never cut in training."""
    found: dict[tuple[str, int], list[float]] = {}
    for seed in range(seeds):
        with torch.enable_grad():
            ordered = trained(blocks(SIZES[-1], 1.0), train, steps, seed)
            own = {size: trained(blocks(size, 0.0), train, steps, seed) for size in SIZES}
        for size in SIZES:
            for name, model in (("nested", ordered), ("own", own[size]), ("cut", own[SIZES[-1]])):
                value = psnr(model.prefix(valid, size), valid)
                emit({"trained": name, "codebooks": size, "seed": seed, "psnr": value})
                found.setdefault((name, size), []).append(value)
    rows = []
    for size in SIZES:
        row: dict[str, object] = {"codebooks": size, "bits_per_pixel": 6 * size / PATCH**2, "seeds": seeds}
        row |= {name: spread(found[name, size]) for name in ("nested", "own", "cut")}
        emit(row)
        rows.append(row)
    show(rows, ("codebooks", "bits_per_pixel", "nested", "own", "cut"))


@torch.no_grad()
def relevance(train: Tensor, valid: Tensor, steps: int, seeds: int) -> None:
    """Print the active channels found by an ARD, its PSNR before and after pruning, and a Gaussian's of as many."""
    rows = []
    for weight in RATE_WEIGHTS:
        for channels in CHANNELS:
            runs: dict[str, list[float]] = {}
            for seed in range(seeds):
                with torch.enable_grad():
                    model = trained(lambda c=channels: ARD(DIM, c), train, steps, seed, weight)  # type: ignore[misc]
                    plain = trained(lambda c=channels: Gaussian(DIM, c), train, steps, seed, weight)  # type: ignore[misc]
                whole = psnr(model(valid)[0], valid)
                rate = float(model.bottleneck(model.encoder(valid).unsqueeze(-1)).bits.mean())
                assert isinstance(model.bottleneck, ARD)
                model.bottleneck = model.bottleneck.prune()
                values = {
                    "active": float(model.bottleneck.channels),
                    "psnr": whole,
                    "pruned_psnr": psnr(model(valid)[0], valid),
                    "bits": rate,
                    "gaussian_psnr": psnr(plain(valid)[0], valid),
                    "gaussian_bits": float(plain.bottleneck(plain.encoder(valid).unsqueeze(-1)).bits.mean()),
                }
                emit({"rate_weight": weight, "channels": channels, "seed": seed, **values})
                for name, value in values.items():
                    runs.setdefault(name, []).append(value)
            row: dict[str, object] = {"rate_weight": weight, "channels": channels, "seeds": seeds}
            row |= {name: spread(values) for name, values in runs.items()}
            emit(row)
            rows.append(row)
    show(rows, ("rate_weight", "channels", "active", "psnr", "pruned_psnr", "bits", "gaussian_psnr", "gaussian_bits"))


def spread(values: list[float]) -> dict[str, float | None]:
    """Mean and standard deviation over seeds."""
    return {"mean": mean(values), "deviation": stdev(values) if len(values) > 1 else None}


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and valid/ of photographs")
    parser.add_argument("--steps", type=int, default=1000, help="of training, 512 patches each")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each autoencoder")
    arguments = parser.parse_args()
    if min(arguments.steps, arguments.seeds) < 1:
        fail("steps and seeds must be at least 1")
    torch.set_num_threads(1)  # sums do not depend on the number of cores, and small layers gain nothing from more
    begin = time.process_time()
    train, valid = patches(arguments.data / "train", 60_000), patches(arguments.data / "valid", 10_000)
    nested(train, valid, arguments.steps, arguments.seeds)
    relevance(train, valid, arguments.steps, arguments.seeds)
    emit({"cpu_seconds": time.process_time() - begin})


if __name__ == "__main__":
    run(main)
