"""Automatic relevance determination: how many channels the data needs is found, not given.

Saha et al., "ARD-VAE" (arXiv 2501.10901): each channel's prior is N(0, v) with v estimated from the channel's own
samples. A channel that carries nothing then costs nothing, so channels empty themselves until the rest suffices.
"""

import torch
from torch import Tensor

from narrows.codecs.bottlenecks.gaussian import Gaussian
from narrows.codecs.checks import check_share
from narrows.codecs.quantization import distributed as ranks
from narrows.codecs.quantization.rounding import Rounding
from narrows.errors import InputError
from narrows.parts import part

SMALLEST = 1e-8  # variance of a prior that keeps the divergence finite


@part("ard")
class ARD(Gaussian):
    """Gaussian channels whose priors follow the data; `prune` then leaves out those that carry nothing.

    The projections belong to the bottleneck, so a pruned one fits the same encoder and decoder. decay: of the running
    moments that priors and relevances are made of. Other arguments and the loss 'kl': as of Gaussian.
    """

    mean: Tensor
    signal: Tensor
    prior: Tensor

    def __init__(
        self, dim: int = 64, channels: int = 32, rounding: Rounding | None = None, decay: float = 0.99
    ) -> None:
        super().__init__(dim, channels, rounding)
        check_share(decay=decay)
        self.decay = decay
        self.register_buffer("mean", torch.zeros(channels))  # of the means
        self.register_buffer("signal", torch.zeros(channels))  # mean square of the means
        self.register_buffer("prior", torch.ones(channels))  # mean square of the samples

    def _losses(self, heads: Tensor, y: Tensor) -> dict[str, Tensor]:
        if self.training:
            self._follow(heads.detach(), y.detach())
        return super()._losses(heads, y)

    def _prior(self, y: Tensor) -> Tensor:
        return self.prior.float().clamp(min=SMALLEST)

    @torch.no_grad()
    def _follow(self, heads: Tensor, y: Tensor) -> None:
        square = y.square()
        sampled = square + self._variance(heads)  # its mean needs no sample
        sums = torch.stack([value.flatten(0, -2).sum(0) for value in (y, square, sampled, torch.ones_like(y))])
        *moments, count = ranks.total(sums)
        # a new tensor, not a change in place: the graph of an earlier forward may still hold the old one
        for name, value in zip(("mean", "signal", "prior"), (m / count for m in moments), strict=True):
            setattr(self, name, torch.lerp(value.to(self.prior), getattr(self, name), self.decay))

    @property
    def relevance(self) -> Tensor:
        """Shares (C,) of the latents' variance that come from each channel's means; they sum to 1.

        As in the paper, but with the bottleneck's own outgoing weights in the place of the whole
        decoder's Jacobian, and with the variance of the means, so that noise alone is no relevance.
        """
        variance = (self.signal - self.mean.square()).clamp(min=0)
        shares = self.project_out.weight.detach().square().sum(0) * variance
        return shares / shares.sum().clamp(min=1e-30)

    def active(self, share: float = 0.99) -> Tensor:
        """The fewest channels (c,) whose relevances make up `share`, in their order."""
        check_share(share=share)
        values, order = self.relevance.sort(descending=True, stable=True)
        count = int((values.cumsum(0) < share).sum()) + 1
        return order[: min(count, self.channels)].sort().values

    @torch.no_grad()
    def prune(self, share: float = 0.99) -> "ARD":
        """A bottleneck of the active channels alone, with their weights; what the others always add goes to the bias.

        Raises InputError when nothing has been trained yet.
        """
        if not bool((self.signal > 0).any()):
            raise InputError("an ARD that has seen no data in training given, relevances wanted; train it first")
        kept = self.active(share)
        pruned = ARD(self.dim, len(kept), self.rounding, self.decay).to(self.prior.device)
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
