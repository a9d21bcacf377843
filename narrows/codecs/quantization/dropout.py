"""Codebook dropout: in training some items are decoded from fewer codebooks, so that prefixes of the codes decode.

The number is drawn per item. A dropped codebook of an item counts neither in the losses nor in the gradient of the
item's latents, as in descript-audio-codec. EMAs of codebooks and of usage count all items.
"""

from typing import Any

import torch
from torch import Tensor

from narrows.errors import InputError


def draw_kept(items: int, count: int, p: float, device: torch.device) -> Tensor:
    """Draw how many stages each item keeps: with probability p uniformly from 1 to `count`, else all.

    Args:
        items: batch size B.
        count: number of stages.
        p: probability of dropout, 0 to 1.
        device: device of the result.

    Returns:
        (B,) int64.
    """
    everything = torch.full((items,), count, device=device)
    if p == 0:
        return everything
    dropped = torch.rand(items, device=device) < p
    return torch.where(dropped, torch.randint(1, count + 1, (items,), device=device), everything)


def squared_error(x: Tensor, target: Tensor, items: int) -> Tensor:
    """Mean squared error (B,) of each of B = `items` items, between vectors (B · positions, d) of the same shape."""
    return (x - target).square().reshape(items, -1).mean(1)


def masked(losses: dict[str, Tensor], used: Tensor) -> dict[str, Tensor]:
    """Set losses (B,) to 0 for the items that do not use a stage (B,); scalars, of the whole batch, stay.

    Raises:
        InputError: for losses of another shape, which a bottleneck of one's own may return.
    """
    for name, value in losses.items():
        if value.shape not in ((), used.shape):
            raise InputError(
                f"expected the loss {name!r} as a scalar or of shape {tuple(used.shape)}, one for each item, "
                f"got {tuple(value.shape)}"
            )
    return {name: value * used if value.ndim else value for name, value in losses.items()}


def scale_gradient(x: Tensor, factors: Tensor) -> Tensor:
    """x (B, ...) unchanged; its gradient is multiplied by one factor (B,) per item."""
    if not (torch.is_grad_enabled() and x.requires_grad):
        return x  # a custom function cannot be compiled
    scaled: Tensor = _ScaledGradient.apply(x, factors)  # type: ignore[no-untyped-call]
    return scaled


class _ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factors: Tensor) -> Tensor:
        ctx.save_for_backward(factors)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (factors,) = ctx.saved_tensors
        return gradient * factors.view(-1, *(1,) * (gradient.ndim - 1)), None
