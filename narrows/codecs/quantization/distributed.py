"""Collectives over the ranks of a distributed run; without a process group there is a single rank."""

import torch
from torch import Tensor, distributed


def total(values: Tensor) -> Tensor:
    """Sum the values of all ranks, in place; the result is bit-identical on all ranks."""
    if _distributed():
        distributed.all_reduce(values)
    return values


def draw(vectors: Tensor, count: int) -> Tensor:
    """Random vectors of all ranks, the same on each rank.

    Ranks contribute in turn; vectors repeat if there are fewer than `count`.

    Args:
        vectors: (N, d) of this rank.
        count: number of vectors to return.

    Returns:
        (count, d).
    """
    order = torch.randperm(len(vectors), device=vectors.device)
    rank, ranks = (distributed.get_rank(), distributed.get_world_size()) if _distributed() else (0, 1)
    place = torch.arange(count, device=vectors.device)
    chosen = vectors[order[place // ranks % len(vectors)]]
    return total(torch.where((place % ranks == rank)[:, None], chosen, 0))


def _distributed() -> bool:
    # checked at each call, since a module may be built before the process group
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
