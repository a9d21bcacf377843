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

from narrows.codecs.bottlenecks.base import LARGEST_DIGIT, Quantized
from narrows.codecs.bottlenecks.entropy_model import (
    FREE_REACH,
    LEVELS,
    LOWEST,
    EntropyModel,
    Stage,
    Stages,
    normal_bits,
    scale_table_sizes,
    scales,
)
from narrows.codecs.bottlenecks.factorized import free_stage
from narrows.codecs.checks import MOST, check_whole
from narrows.codecs.layers.density import Density, at_least
from narrows.codecs.layers.exact import ExactConv2d, ExactUpsample2d, snap
from narrows.errors import InputError
from narrows.parts import part

SQUEEZE = 4  # latent positions to a side of one position of z


class Hyperprior(EntropyModel):
    """What hyperpriors share. Codes: z, its positions of 4 × 4 latents spread over them, then the channels of y.

    groups: channels of y coded in one stage each; their sum is dim. hyper_dim: channels of z, a multiple of 16.
    """

    multiple = SQUEEZE
    hyper_encoder: nn.Module

    def __init__(self, groups: Sequence[int], hyper_dim: int, spread: float = 10.0) -> None:
        super().__init__()
        check_whole(1, MOST, groups=tuple(groups), hyper_dim=hyper_dim)
        if hyper_dim % SQUEEZE**2:
            raise InputError(f"hyper_dim={hyper_dim} given, a multiple of {SQUEEZE**2} wanted")
        self.groups, self.dim, self.hyper_dim = tuple(groups), sum(groups), hyper_dim
        books = hyper_dim // SQUEEZE**2 + self.dim
        self.codebook_sizes, self.prefixes = (LARGEST_DIGIT,) * books, (books,)
        self.density = Density(hyper_dim, spread=spread)

    @property
    def table_sizes(self) -> tuple[int, ...]:
        """Tables of the scales, then one for each channel of z."""
        return scale_table_sizes() + (2 * FREE_REACH + 2,) * self.hyper_dim

    @abstractmethod
    def context(self, z: Tensor, quality: Tensor) -> Tensor:
        """Rounded z (B, hyper_dim, h/4, w/4) to what `predict` reads, (B, C, h, w)."""

    @abstractmethod
    def predict(self, index: int, h: Tensor, before: Sequence[Tensor], quality: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and scale parameter, (B, group, h, w), of group `index` from the context and all groups before it."""

    def hyper(self, y: Tensor) -> Tensor:
        """Latents, in symbols, to z before rounding."""
        out: Tensor = self.hyper_encoder(y)
        return out

    def scaled(self, y: Tensor, quality: Tensor) -> Tensor:
        """Latents in units of the step that they are rounded to."""
        return y

    def restored(self, y: Tensor, quality: Tensor) -> Tensor:
        """The reverse of `scaled`."""
        return y

    def scale(self, parameter: Tensor) -> Tensor:
        """Scale parameters to scales, in symbols."""
        return parameter

    def level(self, parameter: Tensor) -> Tensor:
        """Scale parameters, exact float64, to indices of tables: the nearest in the ratio of scales."""
        known = scales()
        return torch.bucketize(parameter, torch.from_numpy(np.sqrt(known[:-1] * known[1:])).to(parameter.device))

    def learn(self, y: Tensor, quality: Tensor) -> Quantized:
        """Noise for the rate, rounding with a straight-through gradient for all that follows (arXiv 2007.08739)."""
        y = self.scaled(y.float(), quality)
        z = self.hyper(y)
        bits = -self.density(_noisy(z)).log2().flatten(1).sum(1)
        side = bits.detach().sum()
        h, before = self.context(_rounded(z), quality), []
        for index, target in enumerate(y.split(self.groups, 1)):
            mean, parameter = self.predict(index, h, before, quality)
            error = target - mean
            scale = at_least(self.scale(parameter), LOWEST)
            bits = bits + normal_bits(_noisy(error), scale).flatten(1).sum(1)
            before.append(mean + _rounded(error))
        latents = self.restored(torch.cat(before, 1), quality)
        return Quantized(latents, bits=bits, metrics={"side": side / bits.detach().sum()})

    def stages(self, shape: tuple[int, int, int], quality: int) -> Stages:
        """z, then group after group."""
        batch, height, width = shape
        share = torch.full((batch,), float(quality), device=next(self.parameters()).device)
        z = yield free_stage(self.density, (batch, height // SQUEEZE, width // SQUEEZE), LEVELS)
        h, before = self.context(z, share), list[Tensor]()
        for index in range(len(self.groups)):
            mean, parameter = self.predict(index, h, before, share)
            mean = snap(mean)
            symbols = yield Stage(mean, self.level(parameter.double()))
            before.append(mean + symbols)
        return self.restored(torch.cat(before, 1), share).float()

    def targets(self, y: Tensor, quality: Tensor) -> list[Tensor]:
        """z, then the groups of y."""
        y = self.scaled(y.float(), quality)
        return [self.hyper(y), *y.split(self.groups, 1)]

    def fold(self, parts: Sequence[Tensor]) -> Tensor:
        """Each position of z becomes 4 × 4 of a sixteenth of its channels."""
        return torch.cat((nn.functional.pixel_shuffle(parts[0], SQUEEZE), *parts[1:]), 1)

    def unfold(self, x: Tensor) -> list[Tensor]:
        """z and the groups of y."""
        z, *groups = x.split((self.hyper_dim // SQUEEZE**2, *self.groups), 1)
        return [nn.functional.pixel_unshuffle(z, SQUEEZE), *groups]

    def bits_of(self, symbols: Tensor, stage: Stage, index: int) -> Tensor:
        """By the densities of z, and by normal densities of the tables' scales."""
        if index == 0:
            return -self.density(symbols).log2().flatten(1).sum(1)
        scale = torch.from_numpy(scales()).float().to(symbols.device)[stage.tables]
        return normal_bits(symbols, scale).flatten(1).sum(1)


def _rounded(x: Tensor) -> Tensor:
    return x + (x.round() - x).detach()


def _noisy(x: Tensor) -> Tensor:
    return x + torch.rand_like(x) - 0.5


@part("mean-scale-hyperprior")
class MeanScaleHyperprior(Hyperprior):
    """The mean and scale hyperprior, all channels in one stage.

    dim: channels of y; hyper_dim: of z.
    """

    def __init__(self, dim: int = 192, hyper_dim: int = 128) -> None:
        super().__init__((dim,), hyper_dim)
        between = dim * 3 // 2
        self.hyper_encoder = nn.Sequential(
            nn.Conv2d(dim, hyper_dim, 3, padding=1),
            nn.LeakyReLU(),
            nn.Conv2d(hyper_dim, hyper_dim, 5, stride=2, padding=2),
            nn.LeakyReLU(),
            nn.Conv2d(hyper_dim, hyper_dim, 5, stride=2, padding=2),
        )
        self.hyper_decoder = nn.Sequential(
            ExactUpsample2d(hyper_dim, dim),
            nn.LeakyReLU(),
            ExactUpsample2d(dim, between),
            nn.LeakyReLU(),
            ExactConv2d(between, 2 * dim, 3),
        )

    def context(self, z: Tensor, quality: Tensor) -> Tensor:
        """z to scales and means (B, 2 dim, h, w)."""
        out: Tensor = self.hyper_decoder(z)
        return out

    def predict(self, index: int, h: Tensor, before: Sequence[Tensor], quality: Tensor) -> tuple[Tensor, Tensor]:
        """The halves of the context: scales first."""
        scale, mean = h.chunk(2, 1)
        return mean, scale


@part("scale-hyperprior")
class ScaleHyperprior(Hyperprior):
    """The scale hyperprior: means are zero, and z is computed from the sizes of the latents.

    dim: channels of y; hyper_dim: of z.
    """

    def __init__(self, dim: int = 192, hyper_dim: int = 128) -> None:
        super().__init__((dim,), hyper_dim)
        self.hyper_encoder = nn.Sequential(
            nn.Conv2d(dim, hyper_dim, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(hyper_dim, hyper_dim, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(hyper_dim, hyper_dim, 5, stride=2, padding=2),
        )
        self.hyper_decoder = nn.Sequential(
            ExactUpsample2d(hyper_dim, hyper_dim),
            nn.ReLU(),
            ExactUpsample2d(hyper_dim, hyper_dim),
            nn.ReLU(),
            ExactConv2d(hyper_dim, dim, 3),
            nn.ReLU(),
        )

    def hyper(self, y: Tensor) -> Tensor:
        """|y| to z before rounding."""
        out: Tensor = self.hyper_encoder(y.abs())
        return out

    def context(self, z: Tensor, quality: Tensor) -> Tensor:
        """z to scales (B, dim, h, w)."""
        out: Tensor = self.hyper_decoder(z)
        return out

    def predict(self, index: int, h: Tensor, before: Sequence[Tensor], quality: Tensor) -> tuple[Tensor, Tensor]:
        """No mean; the context is the scale."""
        return torch.zeros_like(h), h
