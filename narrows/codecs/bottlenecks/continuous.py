"""Continuous bottlenecks: a few channels of continuous latents, which a `Rounding` may quantize.

z (B, D, *grid) ── in ──▶ y, C channels ── noise (training) or rounding (eval) ── out ──▶ latents (B, D, *grid)

| rounding | training            | eval             | codes                              | rate                        |
|----------|---------------------|------------------|------------------------------------|-----------------------------|
| None     | the class's noise   | y, not rounded   | none                               | the class's estimate, or ∞  |
| given    | uniform noise       | y, rounded       | per channel a codebook of `levels` | nominal                     |
"""

import math

import torch
from torch import Tensor, nn

from narrows.codecs.base import Bottleneck, Quantized
from narrows.codecs.checks import MAX_SIZE, check_fraction, check_integers
from narrows.codecs.quantization.dropout import draw_kept
from narrows.codecs.quantization.projection import to_latents, to_vectors
from narrows.codecs.quantization.rounding import Rounding
from narrows.codecs.quantization.usage import usage
from narrows.errors import InputError
from narrows.parts import part


class Continuous(Bottleneck):
    """Base class of continuous bottlenecks; subclasses define the channels, their noise and their losses.

    Args:
        dim: D of the latents on both sides.
        channels: number of channels C.
        rounding: how channels become integers. Without it there are no codes: `codebook_sizes` is empty, and `encode`
            and `decode` raise InputError.
        dropout: probability, per item and in training only, that only a random prefix of the channels is kept (nested
            dropout, Rippel et al., arXiv 1402.0915); the others are 0. Above 0 the channels are ordered, and every
            prefix of them can be decoded; at 0 only all of them.
        heads: projected values per channel.
    """

    def __init__(
        self, dim: int, channels: int, rounding: Rounding | None, dropout: float = 0.0, heads: int = 1
    ) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, dim=dim, channels=channels)
        check_fraction(dropout=dropout)
        if rounding is not None and not isinstance(rounding, Rounding):
            raise InputError(f"expected rounding to be a Rounding or None, got {rounding!r}")
        self.dim, self.channels, self.rounding, self.dropout = dim, channels, rounding, dropout
        self.codebook_sizes = () if rounding is None else (rounding.levels,) * channels
        prefixes = tuple(range(1, channels + 1)) if dropout > 0 else (channels,)
        self.prefixes = () if rounding is None else prefixes
        self.project_in = nn.Linear(dim, heads * channels)
        self.project_out = nn.Linear(channels, dim)

    def _channels(self, heads: Tensor) -> Tensor:
        """Convert projections (B, *grid, heads·C) to channels (B, *grid, C)."""
        return heads

    def _noisy(self, heads: Tensor, y: Tensor) -> Tensor:
        """Add the noise of training without rounding to the channels y."""
        return y

    def _losses(self, heads: Tensor, y: Tensor) -> dict[str, Tensor]:
        return {}

    def _estimated_bits(self, heads: Tensor, y: Tensor) -> Tensor:
        """Estimated bits (B,) without rounding; infinite if the class has no density."""
        return y.new_full((y.shape[0],), math.inf)

    def forward(self, z: Tensor) -> Quantized:
        """Quantize latents (B, D, *grid); the gradient of rounding is straight-through."""
        heads = self._heads(z)
        y = self._channels(heads)
        losses = self._losses(heads, y)
        kept = draw_kept(len(z), self.channels, self.dropout if self.training else 0.0, z.device)
        if self.rounding is None:
            sample = self._kept(self._noisy(heads, y), kept) if self.training else y
            bits = self._estimated_bits(heads, y).detach()
            return Quantized(to_latents(sample, self.project_out, z.dtype), None, losses, bits)
        codes = self.rounding.codes(y)
        rounded = self.rounding.values(codes) + (y - y.detach())  # exact: the second term is 0
        sample = self._kept(self.rounding.noisy(y), kept) if self.training else rounded
        bits = self._nominal_bits(kept, math.prod(z.shape[2:]))
        codes = codes.movedim(-1, 1)
        metrics = usage(codes, self.codebook_sizes)
        return Quantized(to_latents(sample, self.project_out, z.dtype), codes, losses, bits, metrics)

    def encode(self, z: Tensor) -> Tensor:
        """Encode latents (B, D, *grid) to codes (B, C, *grid) int64."""
        return self._rounding().codes(self._channels(self._heads(z))).movedim(-1, 1)

    def decode(self, codes: Tensor) -> Tensor:
        """Decode codes (B, c, *grid) of the first c channels to latents (B, D, *grid). Missing channels are 0."""
        rounding = self._rounding()
        codes = self._check_codes(codes)
        values = rounding.values(codes.movedim(1, -1))
        values = nn.functional.pad(values, (0, self.channels - codes.shape[1]))
        return to_latents(values, self.project_out, torch.float32)

    def encode_latents(self, z: Tensor) -> Tensor:
        """Encode latents (B, D, *grid) to continuous latents (B, C, *grid) float32, for a generative model."""
        return self._channels(self._heads(z)).movedim(-1, 1)

    def decode_latents(self, y: Tensor) -> Tensor:
        """Decode continuous latents (B, C, *grid) to latents (B, D, *grid)."""
        return to_latents(y.float().movedim(1, -1), self.project_out, torch.float32)

    def _kept(self, y: Tensor, kept: Tensor) -> Tensor:
        """Channels (B, *grid, C), of which only the first `kept` (B,) of each item are not 0."""
        if self.dropout == 0:
            return y
        mask = torch.arange(self.channels, device=y.device) < kept[:, None]
        return y * mask.view(len(y), *(1,) * (y.ndim - 2), -1)

    def _heads(self, z: Tensor) -> Tensor:
        self._check_latents(z)
        return to_vectors(z, self.project_in)

    def _rounding(self) -> Rounding:
        if self.rounding is None:
            raise InputError(
                "expected a bottleneck with codes, got a continuous one; give it rounding=Rounding(step, limit)"
            )
        return self.rounding


@part("tanh")
class Tanh(Continuous):
    """Channels between -1 and 1; a suitable rounding is Rounding(0.125, 1).

    Args:
        dim: D of the latents on both sides.
        channels: number of channels C.
        rounding: how channels become integers; None: there are no codes.
        dropout: see `Continuous`.
    """

    def __init__(
        self, dim: int = 64, channels: int = 16, rounding: Rounding | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__(dim, channels, rounding, dropout)

    def _channels(self, heads: Tensor) -> Tensor:
        return heads.tanh()


@part("soft-norm")
class SoftNorm(Continuous):
    """Channels that a loss pulls to mean 0 and variance 1 over batch and grid.

    Loss 'norm', in nats, mean over channels: the Kullback-Leibler divergence of a normal distribution with a channel's
    mean and variance from the standard one; the idea of the soft-norm bottleneck of Stable Audio's autoencoders.

    Args:
        dim: D of the latents on both sides.
        channels: number of channels C.
        noise: standard deviation of the normal noise that is added in training without rounding.
        rounding: how channels become integers; None: there are no codes.
        dropout: see `Continuous`.
    """

    def __init__(
        self,
        dim: int = 64,
        channels: int = 16,
        noise: float = 0.05,
        rounding: Rounding | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(dim, channels, rounding, dropout)
        if type(noise) not in (int, float) or not 0 <= noise < math.inf:
            raise InputError(f"expected noise to be a finite number of at least 0, got {noise!r}")
        self.noise = noise

    def _noisy(self, heads: Tensor, y: Tensor) -> Tensor:
        return y + self.noise * torch.randn_like(y)

    def _losses(self, heads: Tensor, y: Tensor) -> dict[str, Tensor]:
        variance, mean = torch.var_mean(y.flatten(0, -2), 0, correction=0)
        variance = variance + 1e-4  # a batch of one position has variance 0
        return {"norm": (mean.square() + variance - variance.log() - 1).mean() / 2}
