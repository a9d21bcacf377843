"""Lapped transforms with a learned correction: an image encoder and decoder that begin as a linear transform codec.

               ┌─ straight: one convolution, 32 × 32 pixels every 16 ──────────────────┐
    (B,3,H,W) ─┴─ 3 × 3 at half size ─ 8 × 8 pixels to channels ─ residual × depth ────┴─▶ (B, D, H/16, W/16)

               ┌─ straight: its reverse ─────────────────────┬─────────────────────────┐
    (B,D,h,w) ─┴─ residual × depth ─ channels to 8 × 8 pixels ┴─ 3 × 3 at half size, × 3 ┴─▶ (B, 3, 16h, 16w)

The decoder is shallow on purpose (Yang and Mandt, arXiv 2304.06244): almost everything happens on the latent grid, at
1/256 of the pixels. Beyond its edges an image is taken as mirrored.
"""

import torch
from torch import Tensor, nn

from narrows.codecs.checks import MOST, check_images, check_whole
from narrows.codecs.layers.qualities import ANCHORS, at_quality
from narrows.parts import part

STRIDE = 16
LAP = 8  # pixels that a block's functions reach over its edges
HALF = 2  # side of the pixels of the correction's first and last layer


class Residual(nn.Module):
    """(B, C, h, w) to the same: x + two 3 × 3 convolutions, without any norm. The second begins at zero."""

    reach = 2

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(nn.functional.gelu(self.first(nn.functional.gelu(x))))


@part("lapped-encoder")
class LappedEncoder(nn.Module):
    """Images (B, 3, H, W) in [-1, 1], sides multiples of 16, to latents (B, dim, H/16, W/16).

    width: channels of the correction on the latent grid; fine: on the grid of 2 × 2 pixels; depth: residual blocks.
    """

    def __init__(self, dim: int = 320, width: int = 192, fine: int = 32, depth: int = 3) -> None:
        super().__init__()
        check_whole(1, MOST, dim=dim, width=width, fine=fine)
        check_whole(0, MOST, depth=depth)
        self.axes, self.dim, self.stride = 2, dim, STRIDE
        self.straight = nn.Conv2d(3 * STRIDE**2, dim, 2)  # of blocks of pixels: as 32 × 32 pixels, and faster
        self.fine = nn.Conv2d(3 * HALF**2, fine, 3, padding=1)
        self.fold = nn.Conv2d(fine * (STRIDE // HALF) ** 2, width, 1)
        self.blocks = nn.Sequential(*(Residual(width) for _ in range(depth)))
        self.out = nn.Conv2d(width, dim, 1)

    @property
    def reach(self) -> int:
        """Latent positions to each side on which a latent depends."""
        return 1 + Residual.reach * len(self.blocks)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, dim, H/16, W/16)."""
        check_images(x, STRIDE)
        fine = nn.functional.gelu(self.fine(nn.functional.pixel_unshuffle(x, HALF)))
        h = self.blocks(self.fold(nn.functional.pixel_unshuffle(fine, STRIDE // HALF)))
        straight = self.straight(nn.functional.pixel_unshuffle(mirrored(x, LAP), STRIDE))
        return straight + self.out(nn.functional.gelu(h))


@part("lapped-decoder")
class LappedDecoder(nn.Module):
    """Latents (B, dim, h, w) at a quality, 0 to 56, to images (B, 3, 16 h, 16 w), about [-1, 1].

    width: channels on the latent grid; sight: what of them the grid of 2 × 2 pixels sees; fine: channels there; depth:
    residual blocks.
    """

    conditioned = True

    def __init__(self, dim: int = 320, width: int = 192, sight: int = 24, fine: int = 32, depth: int = 1) -> None:
        super().__init__()
        check_whole(1, MOST, dim=dim, width=width, sight=sight, fine=fine)
        check_whole(0, MOST, depth=depth)
        self.axes, self.dim, self.stride = 2, dim, STRIDE
        self.straight = nn.Conv2d(dim, 3 * STRIDE**2, 2)
        self.sideways = nn.Parameter(torch.ones(dim, 1, 1))
        self.upright = nn.Parameter(torch.ones(dim, 1, 1))
        self.embed = nn.Conv2d(dim, width, 1)
        self.quality = nn.Parameter(torch.empty(ANCHORS, width).normal_(std=0.1))
        self.blocks = nn.Sequential(*(Residual(width) for _ in range(depth)))
        self.unfold = nn.Conv2d(width, sight * (STRIDE // HALF) ** 2, 1)
        self.first = nn.Conv2d(3 * HALF**2 + sight, fine, 3, padding=1)
        self.fine_quality = nn.Parameter(torch.empty(ANCHORS, fine).normal_(std=0.1))
        self.second = nn.Conv2d(fine, fine, 3, padding=1)
        self.last = nn.Conv2d(fine, 3 * HALF**2, 3, padding=1)

    @property
    def reach(self) -> int:
        """Latent positions to each side on which a block of 16 × 16 pixels depends."""
        return 1 + Residual.reach * len(self.blocks)

    def forward(self, z: Tensor, quality: Tensor | int = 0) -> Tensor:
        """(B, dim, h, w), and qualities (B,) or one, to (B, 3, 16 h, 16 w)."""
        if not isinstance(quality, Tensor):
            quality = torch.full((len(z),), quality, device=z.device)
        gelu = nn.functional.gelu
        seen = self.unfold(gelu(self.blocks(self.embed(z) + at_quality(self.quality, quality).to(z.dtype))))
        straight = nn.functional.pixel_shuffle(self.straight(self._surrounded(z)), STRIDE)[..., LAP:-LAP, LAP:-LAP]
        straight = nn.functional.pixel_unshuffle(straight, HALF)
        fine = self.first(torch.cat((straight, nn.functional.pixel_shuffle(seen, STRIDE // HALF)), 1))
        fine = self.second(gelu(fine + at_quality(self.fine_quality, quality).to(z.dtype)))
        return nn.functional.pixel_shuffle(straight + self.last(gelu(fine)), HALF)

    def _surrounded(self, z: Tensor) -> Tensor:
        """One more position on each side: a mirrored block has the block's latents, times each component's parity."""
        z = torch.cat((z[..., :1] * self.sideways, z, z[..., -1:] * self.sideways), 3)
        return torch.cat((z[..., :1, :] * self.upright, z, z[..., -1:, :] * self.upright), 2)


def mirrored(x: Tensor, margin: int) -> Tensor:
    """(B, C, H, W) to (B, C, H + 2 margin, W + 2 margin), the edge pixels repeated first."""
    x = torch.cat((x[..., :margin].flip(3), x, x[..., -margin:].flip(3)), 3)
    return torch.cat((x[..., :margin, :].flip(2), x, x[..., -margin:, :].flip(2)), 2)
