"""Nested dropout: a sum of bottlenecks, the most important first (Rippel et al., arXiv 1402.0915; Matryoshka
representations, arXiv 2205.13147).

    z ──┬── block 0 ──(+)── block 1 ──(+)── block 2 ──▶ latents
        └── each sees z; in training an item keeps the first k blocks only, k by chance
"""

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn

from narrows.codecs.base import Bottleneck, Quantized
from narrows.codecs.bottlenecks.composition import averaged, check_members, cut, joined, listed, sizes
from narrows.codecs.checks import check_share, check_whole
from narrows.codecs.quantization.dropout import drawn
from narrows.parts import part


@part("ordered")
class Ordered(Bottleneck):
    """Latents are the sum of what the blocks make of z; every prefix of the blocks can be decoded.

    A block is any bottleneck of the same dim: an FSQ is a codebook, a Gaussian of one channel a channel. Where a block
    has prefixes of its own, they count too.

    blocks: at least one. dropout: probability, per item and in training only, that only a random prefix of the blocks
    is kept. What an item drops gives its gradient nothing.
    """

    def __init__(self, blocks: Sequence[Bottleneck], dropout: float = 1.0) -> None:
        super().__init__()
        check_share(dropout=dropout)
        blocks = check_members("blocks", blocks, same_dim=True)
        self.blocks = nn.ModuleList(blocks)
        self.dim, self.dropout = blocks[0].dim, dropout
        self.codebook_sizes = sizes(blocks)
        ends = list(accumulate((len(block.codebook_sizes) for block in blocks), initial=0))
        nested = [start + books for start, block in zip(ends, blocks, strict=False) for books in block.prefixes]
        self.prefixes = tuple(nested) if dropout > 0 else tuple(nested[-1:])

    @property
    def radices(self) -> tuple[tuple[int, ...], ...]:
        """Those of the blocks."""
        return tuple(digits for block in listed(self.blocks) for digits in block.radices)

    def forward(self, z: Tensor) -> Quantized:
        """Latents (B, D, *grid) to Quantized; losses and metrics are means over the blocks that have them."""
        self._check_latents(z)
        kept = drawn(len(z), len(self.blocks), self.dropout if self.training else 0.0, z.device)
        parts = [block(z.float()) for block in listed(self.blocks)]
        masks = [(kept > i).float() for i in range(len(parts))]
        shape = (-1, *(1,) * (z.ndim - 1))
        latents = _total([part.latents * mask.view(shape) for part, mask in zip(parts, masks, strict=True)])
        bits = _total([torch.where(mask > 0, part.bits, 0) for part, mask in zip(parts, masks, strict=True)])
        losses, metrics = averaged([part.losses for part in parts]), averaged([part.metrics for part in parts])
        return Quantized(latents.to(z.dtype), joined(parts), losses, bits, metrics)

    def encode(self, z: Tensor) -> Tensor:
        """Latents (B, D, *grid) to codes (B, K, *grid) int64, block after block."""
        self._check_latents(z)
        return torch.cat([block.encode(z.float()) for block in listed(self.blocks)], 1)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, k, *grid), the first k codebooks of all, to latents (B, D, *grid)."""
        if not self.codebook_sizes:
            listed(self.blocks)[0].decode(codes)  # says what is missing
        codes = self._check_codes(codes)
        pairs = zip(listed(self.blocks), cut(codes, self.blocks), strict=False)
        return _total([block.decode(its) for block, its in pairs])

    def prefix(self, z: Tensor, blocks: int) -> Tensor:
        """Latents (B, D, *grid) through the first `blocks` blocks, whether these have codes or not."""
        check_whole(1, len(self.blocks), blocks=blocks)
        return _total([block(z.float()).latents for block in listed(self.blocks)[:blocks]]).to(z.dtype)


def _total(tensors: list[Tensor]) -> Tensor:
    total = tensors[0]
    for tensor in tensors[1:]:
        total = total + tensor
    return total
