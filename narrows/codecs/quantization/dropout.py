"""Codebook dropout: in training some items are decoded from fewer codebooks, and so prefixes come to mean something.

Drawn for each item on its own, and all codebooks go on learning from all items: dropout shortens only what is decoded.
"""

import torch
from torch import Tensor


def drawn(items: int, count: int, share: float, device: torch.device) -> Tensor:
    """How many (B,) of `count` stages each item keeps: 1 to `count`, alike, with probability `share`; else all."""
    every = torch.full((items,), count, device=device)
    if share == 0:
        return every
    short = torch.rand(items, device=device) < share
    return torch.where(short, torch.randint(1, count + 1, (items,), device=device), every)
