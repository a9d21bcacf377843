"""Hyperpriors: side information z, from which the scale of each latent is predicted, and its mean in some models.

    y ── hyper-encoder ──▶ z, rounded ──▶ hyper-decoder ──▶ scales (and means)
    y ─ minus mean, rounded ──▶ symbols, each coded with the table of its scale

Scale hyperprior: Ballé et al., arXiv 1802.01436. Means: Minnen et al., arXiv 1809.02736, without the context model.
"""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from narrows.codecs.base import MAX_RADIX, Quantized
from narrows.codecs.bottlenecks.entropy.base import (
    CHANNEL_TABLE_REACH,
    MIN_SCALE,
    SCALES,
    EntropyModel,
    Stage,
    Stages,
    noisy_and_rounded,
    normal_bits,
    scale_table_sizes,
)
from narrows.codecs.bottlenecks.entropy.factorized import channel_stage
from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.codecs.layers.density import Density, lower_bound
from narrows.codecs.layers.exact import ExactConv2d, ExactUpsample2d, quantize_activations
from narrows.errors import InputError
from narrows.parts import part

DOWNSAMPLING = 4  # latent positions per position of z, along each side


class Hyperprior(EntropyModel):
    """Base class of hyperpriors.

    The codes are first z, whose positions are pixel-shuffled to 4 × 4 positions of the grid, then the channels of y.

    Args:
        dim: channels of y.
        hyper_dim: channels of z, a multiple of 16.
    """

    multiple = DOWNSAMPLING

    def __init__(self, dim: int, hyper_dim: int) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, dim=dim, hyper_dim=hyper_dim)
        if hyper_dim % DOWNSAMPLING**2:
            raise InputError(f"expected hyper_dim to be a multiple of {DOWNSAMPLING**2}, got {hyper_dim}")
        self.dim, self.hyper_dim, self.hyper_codebooks = dim, hyper_dim, hyper_dim // DOWNSAMPLING**2
        codebooks = self.hyper_codebooks + dim
        self.codebook_sizes, self.prefixes = (MAX_RADIX,) * codebooks, (codebooks,)
        self.density = Density(hyper_dim)

    @abstractmethod
    def hyper(self, y: Tensor) -> Tensor:
        """Compute z (B, hyper_dim, h/4, w/4), before rounding, from latents (B, dim, h, w)."""

    @abstractmethod
    def predict(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Predict mean and scale of y, each (B, dim, h, w), from rounded z."""

    @property
    def table_sizes(self) -> tuple[int, ...]:
        """The tables of the scales, then one per channel of z."""
        return scale_table_sizes() + (2 * CHANNEL_TABLE_REACH + 2,) * self.hyper_dim

    def latents(self, values: Sequence[Tensor], quality_index: Tensor) -> Tensor:
        """The values of y."""
        return values[1]

    def estimate(self, parts: Sequence[Tensor], quality_index: Tensor) -> Quantized:
        """Estimate the bits of z, then of y."""
        noisy, z = noisy_and_rounded(parts[0])
        bits_z = -self.density(noisy).log2().flatten(1).sum(1)
        mean, scale = self.predict(z)
        noisy, error = noisy_and_rounded(parts[1] - mean)
        bits_y = normal_bits(noisy, lower_bound(scale, MIN_SCALE)).flatten(1).sum(1)
        return Quantized(mean + error, bits=bits_y + bits_z)

    def stages(self, shape: tuple[int, ...], quality_index: Tensor | int) -> Stages:
        """The stages z and y."""
        batch, height, width = shape
        z = yield channel_stage(
            self.density, (batch, height // DOWNSAMPLING, width // DOWNSAMPLING), SCALES, DOWNSAMPLING
        )
        mean, scale = self.predict(z)
        mean = quantize_activations(mean)
        place = (slice(None), slice(self.hyper_codebooks, None), slice(None), slice(None))
        symbols = yield Stage(mean, self._table(scale), place)
        return (mean + symbols).float()

    def targets(self, y: Tensor, quality_index: Tensor) -> list[Tensor]:
        """z and y."""
        return [self.hyper(y.float()), y.float()]

    def fold(self, parts: Sequence[Tensor]) -> Tensor:
        """z, pixel-shuffled by 4, then y."""
        return torch.cat((nn.functional.pixel_shuffle(parts[0], DOWNSAMPLING), parts[1]), 1)

    def unfold(self, x: Tensor) -> list[Tensor]:
        """z and y."""
        z, y = x.split((self.hyper_codebooks, self.dim), 1)
        return [nn.functional.pixel_unshuffle(z, DOWNSAMPLING), y]

    def symbol_bits(self, symbols: Tensor, stage: Stage, index: int) -> Tensor:
        """Bits of z under its learned densities, or of y under normal densities with the tables' scales."""
        if index == 0:
            return -self.density(symbols).log2().flatten(1).sum(1)
        return normal_bits(symbols, self._scale_of(stage)).flatten(1).sum(1)

    def _table(self, scale: Tensor) -> Tensor:
        """Convert scales to indices of the tables whose scale is nearest in ratio."""
        return torch.bucketize(scale.double().contiguous(), self.scale_borders)


def _encoder(dim: int, hyper_dim: int, activation: type[nn.Module]) -> nn.Sequential:
    """Three convolutions that downsample by 4."""
    return nn.Sequential(
        nn.Conv2d(dim, hyper_dim, 3, padding=1),
        activation(),
        nn.Conv2d(hyper_dim, hyper_dim, 5, stride=2, padding=2),
        activation(),
        nn.Conv2d(hyper_dim, hyper_dim, 5, stride=2, padding=2),
    )


@part("mean-scale-hyperprior")
class MeanScaleHyperprior(Hyperprior):
    """The mean and scale hyperprior (arXiv 1809.02736).

    Args:
        dim: channels of y.
        hyper_dim: channels of z, a multiple of 16.
    """

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
        """Compute z from the latents."""
        out: Tensor = self.hyper_encoder(y)
        return out

    def predict(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and scale from one network, which returns scales first."""
        scale, mean = self.hyper_decoder(z).chunk(2, 1)
        return mean, scale


@part("scale-hyperprior")
class ScaleHyperprior(Hyperprior):
    """The scale hyperprior (arXiv 1802.01436): means are zero, and z is computed from the magnitudes of the latents.

    Args:
        dim: channels of y.
        hyper_dim: channels of z, a multiple of 16.
    """

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
        """Compute z from the magnitudes of the latents."""
        out: Tensor = self.hyper_encoder(y.abs())
        return out

    def predict(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Mean zero, and the scale."""
        scale = self.hyper_decoder(z)
        return torch.zeros_like(scale), scale
