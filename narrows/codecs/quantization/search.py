"""Exact nearest-code search in bounded memory.

               vectors, ROWS at a time
             ┌───────────────────────┐
    codebook │ v · b - |b|² / 2      │  maximum of each group of codes ──▶ best group ──▶ best code of the group
    (V, d)   │ one tile of codes ... │
             └───────────────────────┘

The code with the largest v · b - |b|² / 2 has the smallest |v - b|. A tile of these scores stays in the
processor's cache; only the maxima of groups of GROUP codes are kept, and the codes of the winning group are compared
again. All tiles have one shape, the last one being padded, so the code of a vector depends neither on its position nor
on the other vectors.

Codes of WIDE numbers or more are searched without groups, since to read those of a group again takes longer than to
look at all scores (on one core, 600 vectors, 1024 codes of 128 numbers: 3.5 instead of 18 ms).

Scores are never computed in TF32 or bfloat16: if PyTorch is allowed to use these for float32 products
(`torch.set_float32_matmul_precision`), they are computed in float64. In graphs made by `torch.export`, all scores are
one product, at the precision of the machine that runs the graph.
"""

import torch
from torch import Tensor, nn

GROUP = 32  # codes
WIDE = 48  # numbers of a code
CPU_TILE = (256, 2048)  # vectors, codes: 2 MiB of scores
GPU_TILE = (4096, 4096)  # 64 MiB


def nearest(vectors: Tensor, codebook: Tensor) -> Tensor:
    """Index (N,) int64 of the code (V, d) nearest to each vector (N, d); the first if several are equally near."""
    with torch.no_grad():
        mean = codebook.float().mean(0)  # subtracted, so that products stay small far from the origin
        codebook = codebook.float() - mean
        return max_inner_product(vectors.float() - mean, codebook, codebook.square().sum(1) / -2)


@torch.no_grad()
def max_inner_product(vectors: Tensor, codebook: Tensor, bias: Tensor) -> Tensor:
    """Index (N,) int64 of the largest v · b + bias for each vector.

    Args:
        vectors: (N, d).
        codebook: (V, d).
        bias: (V,), one for each code.
    """
    with torch.autocast(vectors.device.type, enabled=False):
        vectors, codebook, bias = vectors.detach().float(), codebook.detach().float(), bias.detach().float()
        if torch.compiler.is_exporting():
            return torch.addmm(bias, vectors, codebook.T).argmax(1)
        if _reduced_precision(vectors.device):
            vectors, codebook, bias = vectors.double(), codebook.double(), bias.double()
        return _tiled(vectors, torch.cat([codebook, bias[:, None]], 1))


def _tiled(vectors: Tensor, codebook: Tensor) -> Tensor:
    """`max_inner_product` with the bias as last column of the codebook (V, d + 1)."""
    rows, tile = GPU_TILE if vectors.is_cuda else CPU_TILE
    count = len(vectors)
    vectors = nn.functional.pad(vectors, (0, 1), value=1.0)  # v · b + bias is one product
    vectors = nn.functional.pad(vectors, (0, 0, 0, -count % rows))
    if codebook.shape[1] > WIDE:
        return torch.cat([_best(chunk, codebook, min(tile, len(codebook))) for chunk in vectors.split(rows)])[:count]
    codebook = _pad_codes(codebook, GROUP)
    groups = codebook.unflatten(0, (-1, GROUP)).transpose(1, 2).flatten(1)  # (V / GROUP, (d + 1) * GROUP)
    tile = min(tile, len(codebook))
    tiled = _pad_codes(codebook, tile)
    scores = vectors.new_empty(tile, rows)
    maxima = vectors.new_empty(len(tiled) // GROUP, rows)
    found = torch.empty(len(vectors), dtype=torch.int64, device=vectors.device)
    for begin in range(0, len(vectors), rows):
        chunk = vectors[begin : begin + rows]
        for first in range(0, len(tiled), tile):
            torch.mm(tiled[first : first + tile], chunk.T, out=scores)
            target = maxima[first // GROUP : (first + tile) // GROUP]
            torch.amax(scores.unflatten(0, (-1, GROUP)), 1, out=target)
        group = maxima[: len(groups)].max(0).indices  # (rows,); several times as fast as argmax over this axis
        members = groups.index_select(0, group).unflatten(1, (-1, GROUP))  # (rows, d + 1, GROUP)
        member = (members * chunk[:, :, None]).sum(1).argmax(1)
        found[begin : begin + rows] = group * GROUP + member
    return found[:count]


def _best(vectors: Tensor, codebook: Tensor, tile: int) -> Tensor:
    """Index of the largest product with the codebook for each vector, the first of several, `tile` codes at a time."""
    tiles = _pad_codes(codebook, tile).split(tile)
    best, codes = (tiles[0] @ vectors.T).max(0)
    for number, part in enumerate(tiles[1:], 1):
        value, place = (part @ vectors.T).max(0)
        codes = torch.where(value > best, place + number * tile, codes)
        best = torch.maximum(value, best)
    return codes


def _pad_codes(codebook: Tensor, multiple: int) -> Tensor:
    """The codebook, padded with copies of its last code, which never win against it."""
    missing = -len(codebook) % multiple
    return torch.cat([codebook, codebook[-1:].expand(missing, -1)]) if missing else codebook


def _reduced_precision(device: torch.device) -> bool:
    """Whether PyTorch may compute float32 products in TF32 or bfloat16 on this device."""
    backend = torch.backends.cuda if device.type == "cuda" else torch.backends.mkldnn
    precision = getattr(getattr(backend, "matmul", None), "fp32_precision", None)  # since PyTorch 2.9
    if precision is None:
        return torch.get_float32_matmul_precision() != "highest"
    return precision not in ("none", "ieee")
