"""Continuous bottlenecks: a few channels of real numbers, and integers once a `Rounding` says how.

z (B, D, *grid) ── in ──▶ y, C channels ── noise (training) or rounding (eval) ── out ──▶ latents (B, D, *grid)

| rounding | training       | eval            | codes                               | rate                      |
|----------|----------------|-----------------|-------------------------------------|---------------------------|
| None     | the kind's own | y itself        | none                                | the kind's estimate, or ∞ |
| given    | uniform noise  | y on the grid   | a codebook of `levels` per channel  | nominal                   |
"""

import math

import torch
from torch import Tensor, nn

from narrows.codecs.base import Bottleneck, Quantized
from narrows.codecs.checks import MOST, check_whole
from narrows.codecs.quantization.projection import narrowed, widened
from narrows.codecs.quantization.rounding import Rounding
from narrows.codecs.quantization.usage import usage
from narrows.errors import InputError
from narrows.parts import part


class Continuous(Bottleneck):
    """What continuous bottlenecks share. A kind says how channels come from projections, and what it loses by it.

    dim: D of the latents on both sides. channels: C. rounding: how channels become integers; without it there are
    no codes, `codebook_sizes` is empty, and `encode` and `decode` raise InputError. heads: numbers projected a channel.
    """

    def __init__(self, dim: int, channels: int, rounding: Rounding | None, heads: int = 1) -> None:
        super().__init__()
        check_whole(1, MOST, dim=dim, channels=channels)
        if rounding is not None and not isinstance(rounding, Rounding):
            raise InputError(f"rounding={rounding!r} given, a Rounding or None wanted")
        self.dim, self.channels, self.rounding = dim, channels, rounding
        self.codebook_sizes = () if rounding is None else (rounding.levels,) * channels
        self.prefixes = () if rounding is None else (channels,)
        self.project_in = nn.Linear(dim, heads * channels)
        self.project_out = nn.Linear(channels, dim)

    def _channels(self, heads: Tensor) -> Tensor:
        """Projections (B, *grid, heads·C) to channels (B, *grid, C)."""
        return heads

    def _noisy(self, heads: Tensor, y: Tensor) -> Tensor:
        """What stands for the channels y in training where nothing rounds."""
        return y

    def _losses(self, heads: Tensor, y: Tensor) -> dict[str, Tensor]:
        return {}

    def _estimated_bits(self, heads: Tensor, y: Tensor) -> Tensor:
        """Rate (B,) where nothing rounds. A real number without a density has no finite one."""
        return y.new_full((len(y),), math.inf)

    def forward(self, z: Tensor) -> Quantized:
        """Latents (B, D, *grid) to Quantized; the gradient passes the rounding unchanged (straight-through)."""
        heads = self._heads(z)
        y = self._channels(heads)
        losses = self._losses(heads, y)
        if self.rounding is None:
            sample = self._noisy(heads, y) if self.training else y
            bits = self._estimated_bits(heads, y).detach()
            return Quantized(widened(sample, self.project_out, z.dtype), None, losses, bits)
        codes = self.rounding.codes(y)
        on_grid = self.rounding.values(codes) + (y - y.detach())  # exact: the second term is 0
        sample = self.rounding.noisy(y) if self.training else on_grid
        books = torch.full((len(z),), self.channels, device=z.device)
        bits = self._nominal_bits(books, z[0, 0].numel())
        codes = codes.movedim(-1, 1)
        metrics = usage(codes, self.codebook_sizes)
        return Quantized(widened(sample, self.project_out, z.dtype), codes, losses, bits, metrics)

    def encode(self, z: Tensor) -> Tensor:
        """Latents (B, D, *grid) to codes (B, C, *grid) int64."""
        return self._rounding().codes(self._channels(self._heads(z))).movedim(-1, 1)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, c, *grid), the first c channels, to latents (B, D, *grid). A missing channel is 0."""
        rounding = self._rounding()
        codes = self._check_codes(codes)
        values = rounding.values(codes.movedim(1, -1))
        values = nn.functional.pad(values, (0, self.channels - codes.shape[1]))
        return widened(values, self.project_out, torch.float32)

    def encode_latents(self, z: Tensor) -> Tensor:
        """Latents (B, D, *grid) to channels (B, C, *grid) float32, what a generative model of real numbers learns."""
        return self._channels(self._heads(z)).movedim(-1, 1)

    def decode_latents(self, y: Tensor) -> Tensor:
        """Channels (B, C, *grid) to latents (B, D, *grid)."""
        return widened(y.float().movedim(1, -1), self.project_out, torch.float32)

    def _heads(self, z: Tensor) -> Tensor:
        self._check_latents(z)
        return narrowed(z, self.project_in)

    def _rounding(self) -> Rounding:
        if self.rounding is None:
            raise InputError("this bottleneck is continuous and has no codes; give it rounding=Rounding(step, limit)")
        return self.rounding


@part("tanh")
class Tanh(Continuous):
    """Channels between -1 and 1. Arguments: as of Continuous; a fitting rounding is Rounding(0.125, 1)."""

    def __init__(self, dim: int = 64, channels: int = 16, rounding: Rounding | None = None) -> None:
        super().__init__(dim, channels, rounding)

    def _channels(self, heads: Tensor) -> Tensor:
        return heads.tanh()


@part("soft-norm")
class SoftNorm(Continuous):
    """Channels that a loss draws towards mean 0 and variance 1 over the batch and the grid, without noise of their own.

    Loss 'norm', in nats, mean over channels: the Kullback-Leibler divergence of a normal distribution with a channel's
    mean and variance from the standard one; the idea of the soft-norm bottleneck of Stable Audio's autoencoders.
    noise: deviation of normal noise that training adds where nothing rounds. Other arguments: as of Continuous.
    """

    def __init__(
        self, dim: int = 64, channels: int = 16, noise: float = 0.05, rounding: Rounding | None = None
    ) -> None:
        super().__init__(dim, channels, rounding)
        if type(noise) not in (int, float) or not 0 <= noise < math.inf:
            raise InputError(f"noise={noise!r} given, a number of at least 0 wanted")
        self.noise = noise

    def _noisy(self, heads: Tensor, y: Tensor) -> Tensor:
        return y + self.noise * torch.randn_like(y)

    def _losses(self, heads: Tensor, y: Tensor) -> dict[str, Tensor]:
        variance, mean = torch.var_mean(y.flatten(0, -2), 0, correction=0)
        variance = variance + 1e-4  # a batch of one position has none
        return {"norm": (mean.square() + variance - variance.log() - 1).mean() / 2}
