"""Nested dropout: a sum of bottlenecks, ordered by importance (Rippel et al., arXiv 1402.0915; Matryoshka
representations, arXiv 2205.13147).

    z ──┬── block 0 ──(+)── block 1 ──(+)── block 2 ──▶ latents
        └── all blocks quantize z; in training an item keeps only the first k blocks, k drawn at random
"""

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn

from narrows.codecs.base import Bottleneck, Quantized
from narrows.codecs.bottlenecks.composition import (
    all_radices,
    all_sizes,
    as_bottlenecks,
    check_members,
    concatenate_codes,
    mean_by_name,
    split_codes,
)
from narrows.codecs.checks import check_fraction, check_integers
from narrows.codecs.quantization.dropout import draw_kept, masked, scale_gradient
from narrows.parts import part


@part("ordered")
class Ordered(Bottleneck):
    """Latents are the sum of the blocks' latents; every prefix of the blocks can be decoded.

    A block is any bottleneck of the same dim, such as an FSQ of one group or a Gaussian of one channel. Prefixes within
    a block can be decoded, too. Blocks that an item drops contribute no gradient to it.

    Args:
        blocks: at least one bottleneck.
        dropout: probability, per item and in training only, that only a random prefix of the blocks is kept.
    """

    def __init__(self, blocks: Sequence[Bottleneck], dropout: float = 1.0) -> None:
        super().__init__()
        check_fraction(dropout=dropout)
        blocks = check_members("blocks", blocks, same_dim=True)
        self.blocks = nn.ModuleList(blocks)
        self.dim, self.dropout = blocks[0].dim, dropout
        self.codebook_sizes = all_sizes(blocks)
        ends = list(accumulate((len(block.codebook_sizes) for block in blocks), initial=0))
        nested = [start + k for start, block in zip(ends, blocks, strict=False) for k in block.prefixes]
        self.prefixes = tuple(nested) if dropout > 0 else tuple(nested[-1:])

    @property
    def radices(self) -> tuple[tuple[int, ...], ...]:
        """The radices of all blocks."""
        return all_radices(as_bottlenecks(self.blocks))

    def forward(self, z: Tensor) -> Quantized:
        """Quantize latents (B, D, *grid); losses and metrics are means over the blocks that have them.

        The losses of blocks that an item drops are 0 for it; those that a block returns as scalars count all items.
        """
        self._check_latents(z)
        kept = draw_kept(z.shape[0], len(self.blocks), self.dropout if self.training else 0.0, z.device)
        masks = [(kept > i).float() for i in range(len(self.blocks))]
        pairs = list(zip(as_bottlenecks(self.blocks), masks, strict=True))
        outputs = [block(scale_gradient(z.float(), mask)) for block, mask in pairs]
        shape = (-1, *(1,) * (z.ndim - 1))
        latents = _total([q.latents * mask.view(shape) for q, mask in zip(outputs, masks, strict=True)])
        bits = _total([torch.where(mask > 0, q.bits, 0) for q, mask in zip(outputs, masks, strict=True)])
        losses = mean_by_name([masked(q.item_losses, mask) for q, mask in zip(outputs, masks, strict=True)])
        metrics = mean_by_name([q.metrics for q in outputs])
        return Quantized(latents.to(z.dtype), concatenate_codes(outputs), losses, bits, metrics)

    def encode(self, z: Tensor) -> Tensor:
        """Encode latents (B, D, *grid) to codes (B, K, *grid) int64, block after block."""
        self._check_latents(z)
        return torch.cat([block.encode(z.float()) for block in as_bottlenecks(self.blocks)], 1)

    def decode(self, codes: Tensor) -> Tensor:
        """Decode codes (B, k, *grid) of the first k codebooks to latents (B, D, *grid)."""
        if not self.codebook_sizes:
            as_bottlenecks(self.blocks)[0].decode(codes)  # raises InputError: there are no codes
        codes = self._check_codes(codes)
        pairs = zip(as_bottlenecks(self.blocks), split_codes(codes, self.blocks), strict=False)
        return _total([block.decode(block_codes) for block, block_codes in pairs])

    def prefix(self, z: Tensor, blocks: int) -> Tensor:
        """Latents (B, D, *grid) through the first `blocks` blocks; also works without codes."""
        check_integers(1, len(self.blocks), blocks=blocks)
        return _total([block(z.float()).latents for block in as_bottlenecks(self.blocks)[:blocks]]).to(z.dtype)


def _total(tensors: list[Tensor]) -> Tensor:
    total = tensors[0]
    for tensor in tensors[1:]:
        total = total + tensor
    return total
