"""Noise in a decoder that is the same in every run, batch and window: it is a function of the latents.

    latents of a step ── signs of the first 31 channels ──▶ seed ── hash of (seed, place in the step) ──▶ normal noise

A decoder does not know where in a recording its input begins, so noise cannot depend on the time. Signs do not change
with rounding errors, unless a latent is almost 0. Steps with different codes get different noise.
"""

import math

import torch
from torch import Tensor, nn

from narrows.codecs.checks import MAX_SIZE, check_integers

SIGNS = 31  # channels that make a seed
MULTIPLIER = 0x045D9F3B  # of a 32-bit hash of two rounds of shift and multiplication
MASK = 0xFFFFFFFF
UNIT = 2.0**-24  # floats between 0 and 1 from the upper 24 bits of a hash


class NoiseBlock(nn.Module):
    """(B, C, T) plus a pointwise linear map of it, times normal noise (SNAC, arXiv 2410.14411, section 3.2).

    In training the noise is random.

    Args:
        channels: C.
        place: number of this block among those of a network, so that each has its own noise.
    """

    def __init__(self, channels: int, place: int) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, channels=channels)
        self.place = place
        self.linear = nn.Conv1d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor, seeds: Tensor) -> Tensor:
        """(B, C, T) to the same shape; seeds (B, F), T a multiple of F, are those of `seeds_of`."""
        return x + self.noise(x, seeds) * self.linear(x)

    def noise(self, x: Tensor, seeds: Tensor) -> Tensor:
        """Normal noise (B, 1, T)."""
        if self.training:
            return torch.randn_like(x[:, :1])
        return normal_noise(seeds + self.place, x.shape[2] // seeds.shape[1]).unsqueeze(1).to(x.dtype)


def seeds_of(z: Tensor) -> Tensor:
    """A seed (B, F) int64 for each step of latents (B, D, F)."""
    signs = z[:, :SIGNS] > 0
    powers = 2 ** torch.arange(signs.shape[1], device=z.device)
    return (signs * powers[:, None]).sum(1)


def normal_noise(seeds: Tensor, count: int) -> Tensor:
    """Noise (B, F × count) float32 of variance 1: `count` values for each seed (B, F), by the Box-Muller transform."""
    places = torch.arange(count, device=seeds.device)
    mixed = _hashed(seeds & MASK).unsqueeze(-1)
    first, second = (_hashed(mixed ^ (2 * places + half)) >> 8 for half in (0, 1))
    radius = ((first + 1) * UNIT).log().mul(-2).sqrt()
    return (radius * (second * (2 * math.pi * UNIT)).cos()).flatten(1)


def _hashed(x: Tensor) -> Tensor:
    """A hash of 32 bits of integers of 32 bits; no product is longer than 63 bits."""
    for _ in range(2):
        x = ((x >> 16) ^ x) * MULTIPLIER & MASK
    return (x >> 16) ^ x
