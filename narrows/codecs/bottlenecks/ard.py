"""Automatic relevance determination: a VAE that finds the number of channels that the data needs.

Saha et al., "ARD-VAE" (arXiv 2501.10901): the prior of each channel is N(0, v), with v estimated from the channel's own
samples. A channel without information then costs nothing, so training leaves unneeded channels empty.
"""

import torch
from torch import Tensor

from narrows.codecs import distributed as ranks
from narrows.codecs.bottlenecks.gaussian import Gaussian
from narrows.codecs.checks import check_fraction
from narrows.codecs.quantization.rounding import Rounding
from narrows.errors import InputError
from narrows.parts import part

MIN_VARIANCE = 1e-8  # smallest variance of a prior; keeps the divergence finite


@part("ard")
class ARD(Gaussian):
    """Gaussian channels with priors estimated from the data; `prune` then removes channels without information.

    The projections belong to the bottleneck, so a pruned bottleneck fits the same encoder and decoder. Loss: 'kl'.
    Batches with NaN or infinity do not change the moments.

    Args:
        dim: D of the latents on both sides.
        channels: C before pruning.
        rounding: how channels become integers; None: there are no codes.
        decay: decay per training step of the EMA of the moments, from which priors and relevances are computed.
        dropout: see `Continuous`.
    """

    mean: Tensor
    signal: Tensor
    prior: Tensor

    def __init__(
        self,
        dim: int = 64,
        channels: int = 32,
        rounding: Rounding | None = None,
        decay: float = 0.99,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(dim, channels, rounding, dropout)
        check_fraction(decay=decay)
        self.decay = decay
        self.register_buffer("mean", torch.zeros(channels))  # mean of the means
        self.register_buffer("signal", torch.zeros(channels))  # mean square of the means
        self.register_buffer("prior", torch.ones(channels))  # mean square of the samples

    def _losses(self, heads: Tensor, y: Tensor) -> dict[str, Tensor]:
        if self.training:
            self._update_moments(heads.detach(), y.detach())
        return super()._losses(heads, y)

    def _prior(self, y: Tensor) -> Tensor:
        return self.prior.float().clamp(min=MIN_VARIANCE)

    @torch.no_grad()
    def _update_moments(self, heads: Tensor, y: Tensor) -> None:
        square = y.square()
        sampled = square + self._variance(heads)  # its mean needs no sample
        sums = torch.stack([value.flatten(0, -2).sum(0) for value in (y, square, sampled, torch.ones_like(y))])
        *moments, count = ranks.total(sums)
        finite = sums.isfinite().all()
        # a new tensor, not a change in place: the graph of an earlier forward may still hold the old one
        for name, value in zip(("mean", "signal", "prior"), (m / count for m in moments), strict=True):
            before = getattr(self, name)
            setattr(self, name, torch.where(finite, torch.lerp(value.to(self.prior), before, self.decay), before))

    @property
    def relevance(self) -> Tensor:
        """Fraction (C,) of the latents' variance that comes from each channel's means; the sum is 1.

        As in the paper, but with the bottleneck's own output weights instead of the whole decoder's Jacobian, and with
        the variance of the means, so that noise alone has no relevance.
        """
        variance = (self.signal - self.mean.square()).clamp(min=0)
        relevance = self.project_out.weight.detach().square().sum(0) * variance
        return relevance / relevance.sum().clamp(min=1e-30)

    def active(self, fraction: float = 0.99) -> Tensor:
        """Indices (c,) of the fewest channels whose relevances sum to `fraction`, in increasing order."""
        check_fraction(fraction=fraction)
        values, order = self.relevance.sort(descending=True, stable=True)
        count = int((values.cumsum(0) < fraction).sum()) + 1
        return order[: min(count, self.channels)].sort().values

    @torch.no_grad()
    def prune(self, fraction: float = 0.99) -> "ARD":
        """Build an ARD of the active channels only.

        It copies their weights; the mean contribution of the removed channels is added to the output bias.

        Args:
            fraction: fraction of the relevance to keep, see `active`.

        Raises:
            InputError: if the bottleneck has not been trained.
        """
        if not bool((self.signal > 0).any()):
            raise InputError("expected a trained ARD, got one without training steps; train it first")
        kept = self.active(fraction)
        pruned = ARD(self.dim, len(kept), self.rounding, self.decay, self.dropout).to(self.prior.device)
        heads = len(self.project_in.weight) // self.channels
        rows = torch.cat([kept + head * self.channels for head in range(heads)])
        dropped = torch.ones_like(self.mean).index_fill(0, kept, 0)
        pruned.project_in.weight.copy_(self.project_in.weight[rows])
        pruned.project_in.bias.copy_(self.project_in.bias[rows])
        pruned.project_out.weight.copy_(self.project_out.weight[:, kept])
        pruned.project_out.bias.copy_(self.project_out.bias + self.project_out.weight @ (self.mean * dropped))
        for name in ("mean", "signal", "prior"):
            getattr(pruned, name).copy_(getattr(self, name)[kept])
        return pruned.train(self.training)
