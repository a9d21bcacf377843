"""Gaussian channels with a Kullback-Leibler rate: the bottleneck of a VAE (Kingma and Welling, arXiv 1312.6114)."""

import math

import torch
from torch import Tensor

from narrows.codecs.bottlenecks.continuous import Continuous
from narrows.codecs.quantization.rounding import Rounding
from narrows.parts import part

MIN_LOG_VARIANCE, MAX_LOG_VARIANCE = -30.0, 20.0


@part("gaussian")
class Gaussian(Continuous):
    """Each channel is a distribution: training samples it, eval mode takes its mean.

    Without rounding it is normal with predicted mean and variance; with rounding it is uniform, one step wide, around a
    predicted mean. Loss 'kl': the divergence from the prior N(0, 1), in nats per position, summed over channels
    (appendix B of the paper). In bits it is the estimated rate without rounding.

    Args:
        dim: D of the latents on both sides.
        channels: number of channels C.
        rounding: how channels become integers; None: there are no codes.
        dropout: see `Continuous`.
    """

    def __init__(
        self, dim: int = 64, channels: int = 16, rounding: Rounding | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__(dim, channels, rounding, dropout, heads=2 if rounding is None else 1)

    def _channels(self, heads: Tensor) -> Tensor:
        return heads[..., : self.channels]

    def _noisy(self, heads: Tensor, y: Tensor) -> Tensor:
        return y + self._log_variance(heads).mul(0.5).exp() * torch.randn_like(y)

    def _losses(self, heads: Tensor, y: Tensor) -> dict[str, Tensor]:
        return {"kl": self._divergence(heads, y).sum(-1).flatten(1).mean(1)}

    def _estimated_bits(self, heads: Tensor, y: Tensor) -> Tensor:
        return self._divergence(heads, y).flatten(1).sum(1) / math.log(2)

    def _prior(self, y: Tensor) -> Tensor:
        """Variances (C,) of the prior."""
        return y.new_ones(self.channels)

    def _log_variance(self, heads: Tensor) -> Tensor:
        return heads[..., self.channels :].clamp(MIN_LOG_VARIANCE, MAX_LOG_VARIANCE)

    def _variance(self, heads: Tensor) -> Tensor | float:
        """Variances of the channels' distributions: (B, *grid, C), or the same for all."""
        if self.rounding is not None:
            return self.rounding.step**2 / 12
        return self._log_variance(heads).exp()

    def _divergence(self, heads: Tensor, y: Tensor) -> Tensor:
        """Nats (B, *grid, C): cross-entropy with the prior minus the distribution's entropy."""
        entropy: Tensor | float
        if self.rounding is None:
            entropy = 0.5 * (self._log_variance(heads) + math.log(2 * math.pi * math.e))
        else:
            entropy = math.log(self.rounding.step)
        prior = self._prior(y)
        cross = 0.5 * ((2 * math.pi * prior).log() + (y.square() + self._variance(heads)) / prior)
        return cross - entropy
