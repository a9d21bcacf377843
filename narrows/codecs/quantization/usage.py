"""How much of its codebooks a batch uses."""

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

LARGEST_COUNTED = 65_536  # codes of a codebook; of more, those that occur are sorted out


@torch.no_grad()
def usage(codes: Tensor, sizes: Sequence[int]) -> dict[str, Tensor]:
    """Means over the codebooks of codes (B, K, *grid): share of a codebook in use, perplexity of its codes.

    Empty where there are no codebooks.
    """
    if not sizes:
        return {}
    books = codes.movedim(1, 0).flatten(1)  # (K, N)
    if max(sizes) > LARGEST_COUNTED:
        occurring = [book.unique(return_counts=True)[1] / books.shape[1] for book in books]
        used = torch.tensor([len(shares) / size for shares, size in zip(occurring, sizes, strict=True)])
        perplexity = torch.stack([torch.special.entr(shares).sum().exp() for shares in occurring])
        return {"usage": used.mean(), "perplexity": perplexity.mean()}
    starts = torch.tensor([0, *accumulate(sizes)], device=codes.device)
    places = (books + starts[:-1, None]).flatten()
    counts = torch.zeros(sum(sizes), device=codes.device).index_add_(0, places, torch.ones_like(places).float())
    shares = [count / books.shape[1] for count in counts.split(list(sizes))]
    used = torch.stack([(share > 0).float().mean() for share in shares])
    perplexity = torch.stack([torch.special.entr(share).sum().exp() for share in shares])
    return {"usage": used.mean(), "perplexity": perplexity.mean()}
