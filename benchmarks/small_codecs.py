"""Shared by the bottleneck benchmarks: two small data sets, a small autoencoder, its training and its metrics.

    images   crops of 32 x 32 pixels, RGB            (N, 3, 32, 32)  latents on a grid of 4 x 4
    speech   log-mel spectra, 64 bands, 32 frames    (N, 64, 32)     latents on a grid of 16

Signals have mean 0 and standard deviation 1 over the training set.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from common import audio_files, image_files
from PIL import Image
from torch import Tensor, nn

from narrows.codecs import Bottleneck

WIDTH = 64  # channels of the latents
WEIGHTS = {"codebook": 1.0, "commitment": 0.25}  # of the losses, as in VQ-VAE (arXiv 1711.00937)


@dataclass(frozen=True)
class Data:
    """Training and validation signals (N, ...)."""

    name: str
    train: Tensor
    valid: Tensor


def load(folder: Path, kind: str, train: int, valid: int) -> Data:
    """Load a small data set; the same signals at each call.

    Args:
        folder: Folder that holds images/ and speech16k/, each with train/ and valid/.
        kind: "images" or "speech".
        train: Number of training signals.
        valid: Number of validation signals.
    """
    cut, name = {"images": (_crops, "images"), "speech": (_spectra, "speech16k")}[kind]
    rng = np.random.default_rng(0)
    parts = [cut(folder / name / split, count, rng) for split, count in (("train", train), ("valid", valid))]
    center, std = parts[0].mean(), parts[0].std()
    return Data(kind, *((part - center) / std for part in parts))


def _crops(folder: Path, count: int, rng: np.random.Generator) -> Tensor:
    files = image_files(folder)
    files = [files[i] for i in rng.permutation(len(files))[: min(len(files), 120)]]
    crops = []
    for index, path in enumerate(files):
        pixels = np.asarray(Image.open(path).convert("RGB"), dtype=np.float32) / 255
        for _ in range(count // len(files) + (index < count % len(files))):
            top, left = (int(rng.integers(0, size - 31)) for size in pixels.shape[:2])
            crops.append(torch.from_numpy(pixels[top : top + 32, left : left + 32].transpose(2, 0, 1).copy()))
    return torch.stack(crops)


def _spectra(folder: Path, count: int, rng: np.random.Generator) -> Tensor:
    import soundfile
    import torchaudio

    mel = torchaudio.transforms.MelSpectrogram(16_000, 512, hop_length=160, n_mels=64)
    files = audio_files(folder)
    files = [files[i] for i in rng.permutation(len(files))[: min(len(files), 60)]]
    pieces = []
    for index, path in enumerate(files):
        wave, _ = soundfile.read(path, dtype="float32")
        bands = 10 * (mel(torch.from_numpy(wave)) + 1e-5).log10()  # dB
        for _ in range(count // len(files) + (index < count % len(files))):
            begin = int(rng.integers(0, bands.shape[1] - 31))
            pieces.append(bands[:, begin : begin + 32])
    return torch.stack(pieces)


class Autoencoder(nn.Module):
    """A small autoencoder of images or spectra with a bottleneck of WIDTH channels."""

    def __init__(self, kind: str, bottleneck: Bottleneck) -> None:
        super().__init__()
        if kind == "images":
            self.encoder = nn.Sequential(
                nn.Conv2d(3, 32, 4, 4), nn.GELU(), nn.Conv2d(32, WIDTH, 2, 2), nn.GELU(), nn.Conv2d(WIDTH, WIDTH, 1)
            )
            self.decoder = nn.Sequential(
                nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
                nn.GELU(),
                nn.ConvTranspose2d(WIDTH, 32, 2, 2),
                nn.GELU(),
                nn.ConvTranspose2d(32, 3, 4, 4),
            )
        else:
            self.encoder = nn.Sequential(nn.Conv1d(64, 128, 4, 2, 1), nn.GELU(), nn.Conv1d(128, WIDTH, 1))
            self.decoder = nn.Sequential(
                nn.Conv1d(WIDTH, 128, 3, padding=1), nn.GELU(), nn.ConvTranspose1d(128, 64, 4, 2, 1)
            )
        self.bottleneck = bottleneck


def trained(data: Data, make: Callable[[], Bottleneck], seed: int, steps: int, batch: int) -> Autoencoder:
    """Train an autoencoder with Adam.

    Args:
        data: Data set.
        make: Builds the bottleneck.
        seed: Seed of weights and batches; the initial encoder and decoder do not depend on the bottleneck.
        steps: Training steps.
        batch: Signals per step.
    """
    torch.manual_seed(seed)
    model = Autoencoder(data.name, nn.Identity())  # type: ignore[arg-type]
    model.bottleneck = make()
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.1)
    order = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        x = data.train[torch.randint(len(data.train), (batch,), generator=order)]
        quantized = model.bottleneck(model.encoder(x))
        loss = (model.decoder(quantized.latents) - x).square().mean()
        loss = loss + sum(WEIGHTS.get(name, 0.0) * value for name, value in quantized.losses.items())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


@torch.inference_mode()
def scores(model: Autoencoder, data: Data) -> dict[str, float]:
    """Metrics of an autoencoder on the validation signals.

    Returns:
        reconstruction_db: Mean squared error relative to the variance, in dB.
        quantization_mse: Mean squared distance between latent vectors and codebook vectors.
        usage: Fraction of codes in use, of V or of the number of positions if that is less, mean over codebooks.
        perplexity: Perplexity of the codes, mean over codebooks.
    """
    quantized = model.bottleneck(model.encoder(data.valid))
    error = (model.decoder(quantized.latents) - data.valid).square().mean() / data.valid.var()
    codes = quantized.codes.movedim(1, 0).flatten(1)  # (K, N)
    usages, perplexities = [], []
    for codebook_codes, size in zip(codes, model.bottleneck.codebook_sizes, strict=True):
        p = torch.bincount(codebook_codes, minlength=size).double() / len(codebook_codes)
        usages.append(float((p > 0).sum()) / min(size, len(codebook_codes)))
        perplexities.append(float(torch.special.entr(p).sum().exp()))
    return {
        "reconstruction_db": float(10 * error.log10()),
        "quantization_mse": float(quantized.losses["commitment"]),
        "usage": mean(usages),
        "perplexity": mean(perplexities),
    }
