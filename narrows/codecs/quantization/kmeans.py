"""k-means (Lloyd, IEEE Trans. Inf. Theory 28(2), 1982), over all ranks, without a table of vectors times centres."""

import torch
from torch import Tensor

from narrows.codecs.quantization import distributed as ranks
from narrows.codecs.quantization.search import nearest


@torch.no_grad()
def kmeans(vectors: Tensor, centres: int, steps: int) -> Tensor:
    """Centres (V, d) of the vectors (N, d) of all ranks: `steps` rounds from randomly drawn vectors.

    A centre that no vector is nearest to stays where it is.
    """
    book = ranks.draw(vectors, centres)
    for _ in range(steps):
        sums, counts = gathered(vectors, nearest(vectors, book), centres)
        book = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], book)
    return book


@torch.no_grad()
def gathered(vectors: Tensor, codes: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Sum (V, d) and number (V,) of the vectors (N, d), on all ranks, that have each of the codes (N,)."""
    width = vectors.shape[1]
    flat = (codes[:, None] * width + torch.arange(width, device=codes.device)).flatten()
    sums = vectors.new_zeros(size * width).index_add_(0, flat, vectors.flatten()).view(size, width)
    counts = torch.bincount(codes, minlength=size).to(vectors.dtype)
    both = ranks.total(torch.cat([sums, counts[:, None]], 1))
    return both[:, :-1], both[:, -1]
