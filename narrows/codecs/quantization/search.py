"""The nearest code of each vector, exactly, in bounded memory.

              vectors, ROWS at a time
            ┌───────────────────────┐
    book    │ v · b - |b|² / 2      │  max of each group of codes ──▶ best group ──▶ best code of the group
    (V, d)  │ one tile of codes ... │
            └───────────────────────┘

The code with the largest v · b - |b|² / 2 is the one with the smallest |v - b|. A tile of these scores stays in the
processor's cache; only the maxima of groups of GROUP codes are kept, and the codes of the winning group are compared
once more. All tiles have one shape, the last one being filled up, so that what is found for a vector depends neither on
its place nor on its company.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

GROUP = 32  # codes
CPU_TILE = (256, 2048)  # vectors, codes: 2 MiB of scores
GPU_TILE = (4096, 4096)  # 64 MiB


def nearest(vectors: Tensor, book: Tensor) -> Tensor:
    """Index (N,) int64 of the nearest of the codes (V, d) for each of the vectors (N, d); of equals, the first."""
    with torch.no_grad():
        middle = book.float().mean(0)  # distances stay the same, and products small, far from the origin too
        book = book.float() - middle
        return best(vectors.float() - middle, book, book.square().sum(1) / -2)


@torch.no_grad()
def best(vectors: Tensor, book: Tensor, bias: Tensor) -> Tensor:
    """Index (N,) int64 of the largest v · b + bias over the codes (V, d), with a bias (V,) each, for vectors (N, d)."""
    rows, tile = GPU_TILE if vectors.is_cuda else CPU_TILE
    with torch.autocast(vectors.device.type, enabled=False), _full_precision():
        lifted = nn.functional.pad(vectors.detach().float(), (0, 1), value=1.0)  # v · b + bias is one product
        lifted = nn.functional.pad(lifted, (0, 0, 0, -len(lifted) % rows))
        lifted_book = _whole(torch.cat([book.detach().float(), bias.detach().float()[:, None]], 1), GROUP)
        groups = lifted_book.unflatten(0, (-1, GROUP)).transpose(1, 2).flatten(1)  # (V / GROUP, (d + 1) * GROUP)
        tile = min(tile, len(lifted_book))
        tiled = _whole(lifted_book, tile)
        scores = lifted.new_empty(tile, rows)
        maxima = lifted.new_empty(len(tiled) // GROUP, rows)
        found = torch.empty(len(lifted), dtype=torch.int64, device=vectors.device)
        for begin in range(0, len(lifted), rows):
            some = lifted[begin : begin + rows]
            for first in range(0, len(tiled), tile):
                torch.mm(tiled[first : first + tile], some.T, out=scores)
                target = maxima[first // GROUP : (first + tile) // GROUP]
                torch.amax(scores.unflatten(0, (-1, GROUP)), 1, out=target)
            group = maxima[: len(groups)].max(0).indices  # (rows,); several times as fast as argmax over this axis
            members = groups.index_select(0, group).unflatten(1, (-1, GROUP))  # (rows, d + 1, GROUP)
            member = (members * some[:, :, None]).sum(1).argmax(1)
            found[begin : begin + rows] = group * GROUP + member
    return found[: len(vectors)]


def _whole(book: Tensor, multiple: int) -> Tensor:
    """The book, filled up with its last code, which is never preferred to itself."""
    missing = -len(book) % multiple
    return torch.cat([book, book[-1:].expand(missing, -1)]) if missing else book


@contextmanager
def _full_precision() -> Iterator[None]:
    """Products of float32 in float32, even where a training run allows less."""
    before = torch.get_float32_matmul_precision()
    if before == "highest":
        yield
        return
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
