"""What the ranks of a distributed run agree on, asked anew at each call: a part may be older than the process group."""

import torch
from torch import Tensor, distributed


def total(values: Tensor) -> Tensor:
    """The sum over all ranks, in place; the same bits on each rank."""
    if _several():
        distributed.all_reduce(values)
    return values


def draw(vectors: Tensor, count: int) -> Tensor:
    """(count, d) of the vectors (N, d) of all ranks, at random, the same on each rank; repeated if there are fewer.

    The ranks take turns, so that every rank's data is drawn from.
    """
    order = torch.randperm(len(vectors), device=vectors.device)
    rank, ranks = (distributed.get_rank(), distributed.get_world_size()) if _several() else (0, 1)
    place = torch.arange(count, device=vectors.device)
    chosen = vectors[order[place // ranks % len(vectors)]]
    mine = (place % ranks == rank).to(vectors.dtype)
    return total(chosen * mine[:, None])


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
