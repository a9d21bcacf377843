"""Hyperpriors: side information z says how widely each latent is spread, and around which mean.

    y ── hyper-encoder ──▶ z, rounded ──▶ hyper-decoder ──▶ scales (and means)
    y ─ minus mean, rounded ──▶ symbols, each coded with the table of its scale

Scale hyperprior: Ballé et al., arXiv 1802.01436. Means: Minnen et al., arXiv 1809.02736, without the context model.
"""

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from narrows.codecs.base import LARGEST_DIGIT, Quantized
from narrows.codecs.bottlenecks.entropy.base import (
    FREE_REACH,
    LEVELS,
    LOWEST,
    EntropyModel,
    Stage,
    Stages,
    noisy_and_rounded,
    normal_bits,
    scale_of,
    scale_table_sizes,
    scales,
)
from narrows.codecs.bottlenecks.entropy.factorized import free_stage
from narrows.codecs.checks import MOST, check_whole
from narrows.codecs.layers.density import Density, at_least
from narrows.codecs.layers.exact import ExactConv2d, ExactUpsample2d, snap
from narrows.errors import InputError
from narrows.parts import part

SQUEEZE = 4  # latent positions to a side of one position of z


class Hyperprior(EntropyModel):
    """What hyperpriors share. Codes: z, each position of it spread over 4 × 4 of the grid, then the channels of y.

    dim: channels of y. hyper_dim: channels of z, a multiple of 16.
    """

    multiple = SQUEEZE

    def __init__(self, dim: int, hyper_dim: int) -> None:
        super().__init__()
        check_whole(1, MOST, dim=dim, hyper_dim=hyper_dim)
        if hyper_dim % SQUEEZE**2:
            raise InputError(f"hyper_dim={hyper_dim} given, a multiple of {SQUEEZE**2} wanted")
        self.dim, self.hyper_dim, self.hyper_books = dim, hyper_dim, hyper_dim // SQUEEZE**2
        books = self.hyper_books + dim
        self.codebook_sizes, self.prefixes = (LARGEST_DIGIT,) * books, (books,)
        self.density = Density(hyper_dim)

    @abstractmethod
    def hyper(self, y: Tensor) -> Tensor:
        """Latents (B, dim, h, w) to z (B, hyper_dim, h/4, w/4) before rounding."""

    @abstractmethod
    def predict(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Rounded z to mean and scale of y, each (B, dim, h, w)."""

    @property
    def table_sizes(self) -> tuple[int, ...]:
        """Tables of the scales, then one for each channel of z."""
        return scale_table_sizes() + (2 * FREE_REACH + 2,) * self.hyper_dim

    def latents(self, values: Sequence[Tensor], quality: Tensor) -> Tensor:
        """Those of y."""
        return values[1]

    def learn(self, parts: Sequence[Tensor], quality: Tensor) -> Quantized:
        """z, then y."""
        counted, z = noisy_and_rounded(parts[0])
        bits_z = -self.density(counted).log2().flatten(1).sum(1)
        mean, scale = self.predict(z)
        counted, error = noisy_and_rounded(parts[1] - mean)
        bits_y = normal_bits(counted, at_least(scale, LOWEST)).flatten(1).sum(1)
        return Quantized(mean + error, bits=bits_y + bits_z)

    def stages(self, shape: tuple[int, int, int], quality: int) -> Stages:
        """z, then y."""
        batch, height, width = shape
        z = yield free_stage(self.density, (batch, height // SQUEEZE, width // SQUEEZE), LEVELS, SQUEEZE)
        mean, scale = self.predict(z)
        mean = snap(mean)
        books = (slice(None), slice(self.hyper_books, None), slice(None), slice(None))
        symbols = yield Stage(mean, _level(scale), books)
        return (mean + symbols).float()

    def targets(self, y: Tensor, quality: Tensor) -> list[Tensor]:
        """z and y."""
        return [self.hyper(y.float()), y.float()]

    def fold(self, parts: Sequence[Tensor]) -> Tensor:
        """Each position of z becomes 4 × 4 of a sixteenth of its channels."""
        return torch.cat((nn.functional.pixel_shuffle(parts[0], SQUEEZE), parts[1]), 1)

    def unfold(self, x: Tensor) -> list[Tensor]:
        """z and y."""
        z, y = x.split((self.hyper_books, self.dim), 1)
        return [nn.functional.pixel_unshuffle(z, SQUEEZE), y]

    def bits_of(self, symbols: Tensor, stage: Stage, index: int) -> Tensor:
        """By the densities of z, and by normal densities of the tables' scales."""
        if index == 0:
            return -self.density(symbols).log2().flatten(1).sum(1)
        return normal_bits(symbols, scale_of(stage)).flatten(1).sum(1)


def _level(scale: Tensor) -> Tensor:
    """Scales to indices of tables: the nearest in ratio."""
    known = scales()
    bounds = torch.from_numpy(np.sqrt(known[:-1] * known[1:])).to(scale.device)
    return torch.bucketize(scale.double().contiguous(), bounds)


def _encoder(dim: int, hyper_dim: int, activation: type[nn.Module]) -> nn.Sequential:
    """Three convolutions, to a quarter of the height and width."""
    return nn.Sequential(
        nn.Conv2d(dim, hyper_dim, 3, padding=1),
        activation(),
        nn.Conv2d(hyper_dim, hyper_dim, 5, stride=2, padding=2),
        activation(),
        nn.Conv2d(hyper_dim, hyper_dim, 5, stride=2, padding=2),
    )


@part("mean-scale-hyperprior")
class MeanScaleHyperprior(Hyperprior):
    """The mean and scale hyperprior. dim: channels of y; hyper_dim: of z."""

    def __init__(self, dim: int = 192, hyper_dim: int = 128) -> None:
        super().__init__(dim, hyper_dim)
        between = dim * 3 // 2
        self.hyper_encoder = _encoder(dim, hyper_dim, nn.LeakyReLU)
        self.hyper_decoder = nn.Sequential(
            ExactUpsample2d(hyper_dim, dim),
            nn.LeakyReLU(),
            ExactUpsample2d(dim, between),
            nn.LeakyReLU(),
            ExactConv2d(between, 2 * dim, 3),
        )

    def hyper(self, y: Tensor) -> Tensor:
        """Latents to z."""
        out: Tensor = self.hyper_encoder(y)
        return out

    def predict(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Both from one network, scales first."""
        scale, mean = self.hyper_decoder(z).chunk(2, 1)
        return mean, scale


@part("scale-hyperprior")
class ScaleHyperprior(Hyperprior):
    """The scale hyperprior: means are zero, and z follows from the sizes of the latents. dim, hyper_dim: of y and z."""

    def __init__(self, dim: int = 192, hyper_dim: int = 128) -> None:
        super().__init__(dim, hyper_dim)
        self.hyper_encoder = _encoder(dim, hyper_dim, nn.ReLU)
        self.hyper_decoder = nn.Sequential(
            ExactUpsample2d(hyper_dim, hyper_dim),
            nn.ReLU(),
            ExactUpsample2d(hyper_dim, hyper_dim),
            nn.ReLU(),
            ExactConv2d(hyper_dim, dim, 3),
            nn.ReLU(),
        )

    def hyper(self, y: Tensor) -> Tensor:
        """The sizes of latents to z."""
        out: Tensor = self.hyper_encoder(y.abs())
        return out

    def predict(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """No mean."""
        scale = self.hyper_decoder(z)
        return torch.zeros_like(scale), scale
