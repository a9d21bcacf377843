"""Vision transformers as encoder and decoder (ViTok, arXiv 2501.09755, section 2; UniTok, arXiv 2502.20321).

(B, 3, H, W) ─ patches to vectors ─ + positions ─ blocks ─ norm ─ linear ─▶ (B, D, H/p, W/p)
(B, D, h, w) ─ linear ─ + positions ─ blocks ─ norm ─ vectors to patches ─▶ (B, 3, p h, p w)

Blocks are those of a plain vision transformer (arXiv 2010.11929). Positions are learned for a square grid, and
resampled for an image of another (section 3.2 there); ViTok's are rotary.
"""

import torch
from torch import Tensor, nn

from narrows.codecs.base import Decoder, Encoder, Reach
from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.errors import InputError
from narrows.parts import part

DEVIATION = 0.02  # of the initial weights


class _Transformer(nn.Module):
    """Vectors (B, width, h, w) to the same: positions, blocks and a norm."""

    def __init__(self, width: int, depth: int, heads: int, grid: int) -> None:
        super().__init__()
        from timm.models.vision_transformer import Block  # takes seconds to import

        check_integers(1, MAX_SIZE, width=width, heads=heads)
        check_integers(1, 1024, depth=depth)
        check_integers(1, 256, grid=grid)
        if width % heads:
            raise InputError(f"expected heads that divide the width, got heads={heads} and width={width}")
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
class ViTEncoder(Encoder):
    """Images (B, C, H, W) in [-1, 1], sides multiples of the patch, to latents (B, dim, H / patch, W / patch).

    ViTok's "small" has depth 6, its "base" 12, both width 768.

    Args:
        dim: D of the latents.
        width: length of the vectors.
        depth: number of blocks.
        heads: of the attention, a divisor of the width.
        patch: side of a patch, in pixels.
        grid: patches along a side of the images that positions are learned for.
        channels: C.
    """

    reach: tuple[Reach, ...] = (None, None)

    def __init__(
        self,
        dim: int = 64,
        width: int = 768,
        depth: int = 6,
        heads: int = 12,
        patch: int = 16,
        grid: int = 16,
        channels: int = 3,
    ) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, dim=dim, channels=channels)
        check_integers(1, 256, patch=patch)
        self.channels, self.dim, self.stride = channels, dim, (patch, patch)
        self.transformer = _Transformer(width, depth, heads, grid)
        self.embed = nn.Conv2d(channels, width, patch, patch)
        self.out = nn.Conv2d(width, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, dim, H / patch, W / patch)."""
        out: Tensor = self.out(self.features(x))
        return out

    def features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the output of the transformer, (B, width, H / patch, W / patch)."""
        self.check_signal(x)
        features: Tensor = self.transformer(self.embed(x))
        return features


@part("vit-decoder")
class ViTDecoder(Decoder):
    """Latents (B, dim, h, w) to images (B, C, patch h, patch w), about [-1, 1].

    Args:
        dim, width, depth, heads, patch, grid, channels: as of the encoder.
    """

    reach: tuple[Reach, ...] = (None, None)

    def __init__(
        self,
        dim: int = 64,
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
        patch: int = 16,
        grid: int = 16,
        channels: int = 3,
    ) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, dim=dim, channels=channels)
        check_integers(1, 256, patch=patch)
        self.channels, self.dim, self.stride = channels, dim, (patch, patch)
        self.embed = nn.Conv2d(dim, width, 1)
        self.transformer = _Transformer(width, depth, heads, grid)
        self.out = nn.Conv2d(width, channels * patch**2, 1)

    def forward(self, z: Tensor, quality_index: Tensor | int | None = None) -> Tensor:
        """(B, dim, h, w) to (B, C, patch h, patch w)."""
        return nn.functional.pixel_shuffle(self.out(self.transformer(self.embed(z))), self.stride[0])
