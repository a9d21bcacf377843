"""How much of its codebooks a batch uses."""

from collections.abc import Sequence
from itertools import accumulate

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
    books = codes.movedim(1, 0).flatten(1)  # (K, N)
    starts = torch.tensor([0, *accumulate(sizes)], device=codes.device)
    places = (books + starts[:-1, None]).flatten()
    counts = torch.zeros(sum(sizes), device=codes.device).index_add_(0, places, torch.ones_like(places).float())
    shares = [count / books.shape[1] for count in counts.split(list(sizes))]
    used = torch.stack([(share > 0).float().mean() for share in shares])
    perplexity = torch.stack([torch.special.entr(share).sum().exp() for share in shares])
    return {"usage": used.mean(), "perplexity": perplexity.mean()}
