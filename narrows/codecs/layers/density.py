"""A learned density per channel: a monotonic network (Ballé et al., arXiv 1802.01436, appendix 6.1)."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

MIN_PROBABILITY = 1e-9  # keeps logarithms finite


class LowerBound(torch.autograd.Function):
    """max(x, bound), whose gradient also passes below the bound where it increases x."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, bound: float) -> Tensor:
        """The larger of x and the bound."""
        ctx.save_for_backward(x)
        ctx.bound = bound  # type: ignore[attr-defined]
        return x.clamp(min=bound)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        """The gradient, where x is above the bound or a descent step increases it."""
        (x,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return gradient * ((x >= ctx.bound) | (gradient < 0)), None  # type: ignore[attr-defined]


def lower_bound(x: Tensor, bound: float) -> Tensor:
    """max(x, bound) with the gradient of `LowerBound`."""
    if not (torch.is_grad_enabled() and x.requires_grad):
        return x.clamp(min=bound)  # a custom function cannot be exported
    out: Tensor = LowerBound.apply(x, bound)  # type: ignore[no-untyped-call]
    return out


class Density(nn.Module):
    """Probabilities of integers under one learned density per channel.

    Args:
        channels: number of densities.
        widths: hidden units of the layers.
        spread: approximate half-width of the densities at initialisation, in integers.
    """

    def __init__(self, channels: int, widths: Sequence[int] = (3, 3, 3, 3), spread: float = 10.0) -> None:
        super().__init__()
        self.channels = channels
        sizes = (1, *widths, 1)
        layer_scale = spread ** (1 / (len(sizes) - 1))
        self.matrices, self.biases, self.factors = nn.ParameterList(), nn.ParameterList(), nn.ParameterList()
        for before, after in pairwise(sizes):
            start = math.log(math.expm1(1 / layer_scale / after))
            self.matrices.append(nn.Parameter(torch.full((channels, after, before), start)))
            self.biases.append(nn.Parameter(torch.rand(channels, after, 1) - 0.5))
            if len(self.matrices) < len(sizes) - 1:
                self.factors.append(nn.Parameter(torch.zeros(channels, after, 1)))

    def logits(self, x: Tensor) -> Tensor:
        """Values (C, 1, N) to logits of their cumulative probability, the same shape."""
        for matrix, bias, factor in zip(self.matrices, self.biases, self.factors, strict=False):
            x = nn.functional.softplus(matrix) @ x + bias
            x = x + factor.tanh() * x.tanh()
        return nn.functional.softplus(self.matrices[-1]) @ x + self.biases[-1]

    def forward(self, x: Tensor) -> Tensor:
        """Values (B, C, *grid) to the probability of [x - 1/2, x + 1/2], the same shape."""
        flat = x.movedim(1, 0).flatten(1).unsqueeze(1)  # (C, 1, N)
        low, high = self.logits(flat - 0.5), self.logits(flat + 0.5)
        sign = torch.where(low + high > 0, -1.0, 1.0)  # the difference is taken in the smaller tail
        p = ((sign * high).sigmoid() - (sign * low).sigmoid()).abs()
        return lower_bound(p, MIN_PROBABILITY).view(x.movedim(1, 0).shape).movedim(0, 1)
