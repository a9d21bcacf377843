"""Codebook usage of a batch, without synchronising with the host."""

from collections.abc import Sequence

import torch
from torch import Tensor

MAX_COUNTED = 65_536  # codebook entries; codes of larger codebooks are sorted instead of counted in a table


@torch.no_grad()
def usage(codes: Tensor, sizes: Sequence[int]) -> dict[str, Tensor]:
    """Fraction of the entries in use and perplexity of the codes, means over the codebooks.

    Args:
        codes: (B, K, *grid) int64.
        sizes: number of entries of each of the K codebooks.

    Returns:
        Scalars 'usage' and 'perplexity'; empty if there are no codebooks.
    """
    if not sizes:
        return {}
    flat = codes.movedim(1, 0).flatten(1)  # (K, N)
    if max(sizes) > MAX_COUNTED:
        ordered = flat.sort(1).values
        starts = (ordered[:, 1:] != ordered[:, :-1]).long().cumsum(1)
        runs = torch.nn.functional.pad(starts, (1, 0))  # (K, N): which run of equal codes a code is in
        width = flat.shape[1]
    else:
        runs, width = flat, max(sizes)
    ones = torch.ones_like(runs, dtype=torch.float32)
    counts = torch.zeros(len(sizes), width, device=codes.device).scatter_add_(1, runs, ones)
    probabilities = counts / flat.shape[1]
    used = [row / size for row, size in zip((counts > 0).float().sum(1).unbind(), sizes, strict=True)]
    perplexity = torch.special.entr(probabilities).sum(1).exp()
    return {"usage": torch.stack(used).mean(), "perplexity": perplexity.mean()}
