"""How much of its codebooks a batch uses."""

from collections.abc import Sequence

import torch
from torch import Tensor

LARGEST_COUNTED = 65_536  # codes of a codebook; a histogram of more would be mostly zeros, and slow


@torch.no_grad()
def usage(codes: Tensor, sizes: Sequence[int]) -> dict[str, Tensor]:
    """Means over the codebooks of codes (B, K, *grid): share of a codebook in use, perplexity of its codes.

    Empty where a codebook is too large to count.
    """
    if not sizes or max(sizes) > LARGEST_COUNTED:
        return {}
    used, perplexities = [], []
    for book, size in enumerate(sizes):
        flat = codes[:, book].flatten()
        counts = torch.zeros(size, device=codes.device).index_add_(0, flat, torch.ones_like(flat, dtype=torch.float32))
        used.append((counts > 0).float().mean())
        perplexities.append(torch.special.entr(counts / len(flat)).sum().exp())
    return {"usage": torch.stack(used).mean(), "perplexity": torch.stack(perplexities).mean()}
