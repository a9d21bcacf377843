"""Gaussian channels with a Kullback-Leibler rate (Kingma and Welling, arXiv 1312.6114, appendix B)."""

import math

import torch
from torch import Tensor

from narrows.codecs.bottlenecks.continuous import Continuous
from narrows.codecs.quantization.rounding import Rounding
from narrows.parts import part

LEAST, MOST = -30.0, 20.0  # log variances that float32 can work with


@part("gaussian")
class Gaussian(Continuous):
    """Each channel is a distribution: a sample of it in training, its mean in eval.

    Where nothing rounds it is normal with a mean and variance of its own; with a rounding it is uniform, one step wide,
    around a mean of its own. Loss 'kl': the divergence from the prior N(0, 1) in nats a position, summed over channels.
    In bits it is the estimated rate where nothing rounds.

    Arguments: as of Continuous.
    """

    def __init__(self, dim: int = 64, channels: int = 16, rounding: Rounding | None = None) -> None:
        super().__init__(dim, channels, rounding, heads=2 if rounding is None else 1)

    def _channels(self, heads: Tensor) -> Tensor:
        return heads[..., : self.channels]

    def _noisy(self, heads: Tensor, y: Tensor) -> Tensor:
        return y + self._log_variance(heads).mul(0.5).exp() * torch.randn_like(y)

    def _losses(self, heads: Tensor, y: Tensor) -> dict[str, Tensor]:
        return {"kl": self._divergence(heads, y).sum(-1).mean()}

    def _estimated_bits(self, heads: Tensor, y: Tensor) -> Tensor:
        return self._divergence(heads, y).flatten(1).sum(1) / math.log(2)

    def _prior(self, y: Tensor) -> Tensor:
        """Variances (C,) of the prior."""
        return y.new_ones(self.channels)

    def _log_variance(self, heads: Tensor) -> Tensor:
        return heads[..., self.channels :].clamp(LEAST, MOST)

    def _variance(self, heads: Tensor) -> Tensor:
        """Variances of the channels' distributions, (B, *grid, C) or a scalar."""
        if self.rounding is not None:
            return heads.new_tensor(self.rounding.step**2 / 12)
        return self._log_variance(heads).exp()

    def _divergence(self, heads: Tensor, y: Tensor) -> Tensor:
        """Nats (B, *grid, C): cross-entropy with the prior, minus the distribution's own entropy."""
        if self.rounding is None:
            entropy = 0.5 * (self._log_variance(heads) + math.log(2 * math.pi * math.e))
        else:
            entropy = heads.new_tensor(math.log(self.rounding.step))
        prior = self._prior(y)
        cross = 0.5 * ((2 * math.pi * prior).log() + (y.square() + self._variance(heads)) / prior)
        return cross - entropy
