"""Codebook dropout: in training some items are decoded from fewer codebooks, so that prefixes of the codes decode.

The number is drawn per item. Dropout only affects what is decoded: all codebooks are trained on all items.
"""

import torch
from torch import Tensor


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
