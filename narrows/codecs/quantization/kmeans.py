"""k-means (Lloyd, IEEE Trans. Inf. Theory 28(2), 1982) over all ranks, without a table of vectors × centres."""

import torch
from torch import Tensor

from narrows.codecs import distributed as ranks
from narrows.codecs.quantization.search import nearest


@torch.no_grad()
def kmeans(vectors: Tensor, centres: int, steps: int) -> Tensor:
    """Cluster the vectors of all ranks, starting from random ones.

    Args:
        vectors: (N, d).
        centres: number of centres V.
        steps: iterations. A centre without vectors does not move.

    Returns:
        Centres (V, d), the same on all ranks.
    """
    codebook = ranks.draw(vectors, centres)
    for _ in range(steps):
        sums, counts = sum_by_code(vectors, nearest(vectors, codebook), centres)
        codebook = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], codebook)
    return codebook


@torch.no_grad()
def sum_by_code(vectors: Tensor, codes: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """For each of V = `size` codes, sum (V, d) and count (V,) of the vectors (N, d) of all ranks with it (N,)."""
    width = vectors.shape[1]
    flat = (codes[:, None] * width + torch.arange(width, device=codes.device)).flatten()
    sums = vectors.new_zeros(size * width).index_add_(0, flat, vectors.flatten()).view(size, width)
    counts = torch.bincount(codes, minlength=size).to(vectors.dtype)
    both = ranks.total(torch.cat([sums, counts[:, None]], 1))
    return both[:, :-1], both[:, -1]
