"""What the ranks of a distributed run share; without a process group there is a single rank, and all of this is free.

Every function is called by all ranks, in the same order and with tensors of the same shapes.
"""

import os
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn

BUCKET = 1 << 23  # numbers that are averaged together


def count() -> int:
    """Number of ranks."""
    return distributed.get_world_size() if _distributed() else 1


def rank() -> int:
    """Number of this rank, from 0."""
    return distributed.get_rank() if _distributed() else 0


def is_launched_first() -> bool:
    """Whether this process is the first one of a run with several, by its environment, without a process group."""
    return not any(int(os.environ.get(name) or 0) for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))


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


def gather(x: Tensor) -> Tensor:
    """Concatenate x (B, ...) of all ranks to (ranks · B, ...). The gradient of x sums those of all ranks."""
    if not _distributed():
        return x
    gathered: Tensor = _Gather.apply(x)  # type: ignore[no-untyped-call]
    return gathered


def gather_objects(value: Any) -> list[Any]:
    """The values of all ranks, which can be pickled, in the order of the ranks."""
    values = [value]
    if _distributed():
        values = [None] * distributed.get_world_size()
        distributed.all_gather_object(values, value)
    return values


@torch.no_grad()
def broadcast(module: nn.Module) -> None:
    """Give all ranks the parameters and buffers of the first rank."""
    if _distributed():
        for tensor in (*module.parameters(), *module.buffers()):
            value = tensor.contiguous()
            distributed.broadcast(value.view(torch.uint8) if value.dtype == torch.bool else value, 0)
            tensor.copy_(value)


@torch.no_grad()
def _average(tensors: Iterable[Tensor]) -> None:
    """Replace floating-point tensors by their means over all ranks, in place."""
    for bucket in _buckets(tensors):
        flat = total(torch.cat([tensor.flatten() for tensor in bucket])) / distributed.get_world_size()
        for tensor, mean in zip(bucket, flat.split([tensor.numel() for tensor in bucket]), strict=True):
            tensor.copy_(mean.view_as(tensor))


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Average gradients over all ranks. A parameter without a gradient on some ranks counts as 0 there."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    if not _distributed() or not trained:
        return
    used = torch.tensor([float(parameter.grad is not None) for parameter in trained], device=trained[0].device)
    gradients = []
    for parameter, ranks in zip(trained, total(used).tolist(), strict=True):
        if ranks:
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            gradients.append(parameter.grad)
    _average(gradients)


def leave() -> None:
    """Wait until all ranks have come here, for days if need be, then end the process group, if there is one."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier(distributed.new_group(backend="gloo", timeout=timedelta(days=30)))
        distributed.destroy_process_group()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.contiguous()
        parts = [torch.empty_like(x) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, x)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return total(gradient.contiguous().clone()).chunk(distributed.get_world_size())[distributed.get_rank()]


def _buckets(tensors: Iterable[Tensor]) -> Iterable[list[Tensor]]:
    """Group tensors of one dtype and device, up to BUCKET numbers each or a single larger tensor."""
    open_buckets: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        bucket = open_buckets.setdefault((tensor.dtype, tensor.device), [])
        if bucket and sum(other.numel() for other in bucket) + tensor.numel() > BUCKET:
            yield list(bucket)
            bucket.clear()
        bucket.append(tensor)
    yield from (bucket for bucket in open_buckets.values() if bucket)


def _distributed() -> bool:
    # checked at each call, since a module may be built before the process group
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
