"""Vision transformers as encoder and decoder (ViTok, arXiv 2501.09755, section 2; UniTok, arXiv 2502.20321).

(B, 3, H, W) ─ patches to vectors ─ + positions ─ blocks ─ norm ─ linear ─▶ (B, D, H/p, W/p)
(B, D, h, w) ─ linear ─ + positions ─ blocks ─ norm ─ vectors to patches ─▶ (B, 3, p h, p w)

Blocks are those of a plain vision transformer (arXiv 2010.11929). Positions are learned for a square grid, and
resampled for a picture of another (section 3.2 there); ViTok's are rotary.
"""

import torch
from torch import Tensor, nn

from narrows.codecs.checks import MOST, check_images, check_whole
from narrows.errors import InputError
from narrows.parts import part

DEVIATION = 0.02  # of the weights at the beginning


class _Transformer(nn.Module):
    """Vectors (B, width, h, w) to the same: positions, blocks and a norm."""

    def __init__(self, width: int, depth: int, heads: int, grid: int) -> None:
        super().__init__()
        from timm.models.vision_transformer import Block  # takes seconds, which only those who need it shall wait

        check_whole(1, MOST, width=width, heads=heads)
        check_whole(1, 1024, depth=depth)
        check_whole(1, 256, grid=grid)
        if width % heads:
            raise InputError(f"expected heads to divide width={width}, got {heads}")
        self.positions = nn.Parameter(torch.empty(1, width, grid, grid).normal_(std=DEVIATION))
        self.blocks = nn.Sequential(*(Block(width, heads, qkv_bias=True) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, 1e-6)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=DEVIATION)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[2:]
        out: Tensor = self.norm(self.blocks((x + self._resampled(size)).flatten(2).transpose(1, 2)))
        return out.transpose(1, 2).unflatten(2, size)

    def _resampled(self, size: torch.Size) -> Tensor:
        """Positions (1, width, h, w)."""
        if self.positions.shape[2:] == size:
            return self.positions
        resampled = nn.functional.interpolate(self.positions.float(), tuple(size), mode="bicubic", antialias=True)
        return resampled.to(self.positions.dtype)


@part("vit-encoder")
class ViTEncoder(nn.Module):
    """Images (B, 3, H, W) in [-1, 1], sides multiples of the patch, to latents (B, dim, H / patch, W / patch).

    width: of the vectors; depth: blocks; heads: of their attention, a divisor of the width. patch: pixels of its side.
    grid: patches of a side of the pictures that positions are learned for. ViTok's "small" has depth 6, "base" 12, both
    width 768.
    """

    reach = None

    def __init__(
        self, dim: int = 64, width: int = 768, depth: int = 6, heads: int = 12, patch: int = 16, grid: int = 16
    ) -> None:
        super().__init__()
        check_whole(1, MOST, dim=dim)
        check_whole(1, 256, patch=patch)
        self.axes, self.dim, self.stride = 2, dim, patch
        self.transformer = _Transformer(width, depth, heads, grid)
        self.embed = nn.Conv2d(3, width, patch, patch)
        self.out = nn.Conv2d(width, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, dim, H / patch, W / patch)."""
        out: Tensor = self.out(self.features(x))
        return out

    def features(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) to what the transformer makes of the patches, (B, width, H / patch, W / patch)."""
        check_images(x, self.stride)
        features: Tensor = self.transformer(self.embed(x))
        return features


@part("vit-decoder")
class ViTDecoder(nn.Module):
    """Latents (B, dim, h, w) to images (B, 3, patch h, patch w), about [-1, 1]. Arguments: as of the encoder."""

    reach = None

    def __init__(
        self, dim: int = 64, width: int = 768, depth: int = 12, heads: int = 12, patch: int = 16, grid: int = 16
    ) -> None:
        super().__init__()
        check_whole(1, MOST, dim=dim)
        check_whole(1, 256, patch=patch)
        self.axes, self.dim, self.stride = 2, dim, patch
        self.embed = nn.Conv2d(dim, width, 1)
        self.transformer = _Transformer(width, depth, heads, grid)
        self.out = nn.Conv2d(width, 3 * patch**2, 1)

    def forward(self, z: Tensor) -> Tensor:
        """(B, dim, h, w) to (B, 3, patch h, patch w)."""
        return nn.functional.pixel_shuffle(self.out(self.transformer(self.embed(z))), self.stride)
