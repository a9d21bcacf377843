"""Lapped transforms with a learned correction: an image encoder and decoder initialised as a linear transform codec.

               ┌─ linear transform: one convolution, 32 × 32 pixels every 16 ──────────┐
    (B,C,H,W) ─┴─ 3 × 3 at half resolution ─ pixel unshuffle by 8 ─ residual × depth ──┴─▶ (B, D, H/16, W/16)

               ┌─ linear transform, transposed ──────────────┬─────────────────────────┐
    (B,D,h,w) ─┴─ residual × depth ─ pixel shuffle by 8 ──────┴─ 3 × 3 at half res., × 3 ┴─▶ (B, C, 16h, 16w)

The decoder is shallow on purpose (Yang and Mandt, arXiv 2304.06244): almost all computation is on the latent grid, at
1/256 of the pixels. Images are extended by reflection at their edges.
"""

import torch
from torch import Tensor, nn

from narrows.codecs.base import Decoder, Encoder, Reach
from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.codecs.layers.qualities import ANCHORS, at_quality
from narrows.parts import part

STRIDE = 16
LAP = 8  # pixels by which basis functions overlap the neighbouring blocks
HALF_STRIDE = 2  # pixels per position at half resolution


class Residual(nn.Module):
    """Residual block of two 3 × 3 convolutions on (B, C, h, w), without normalization. The second starts at zero."""

    reach = 2

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(nn.functional.gelu(self.first(nn.functional.gelu(x))))


@part("lapped-encoder")
class LappedEncoder(Encoder):
    """Images (B, C, H, W) in [-1, 1], sides multiples of 16, to latents (B, dim, H/16, W/16).

    Args:
        dim: channels of the latents, D.
        width: channels of the learned correction on the latent grid.
        fine: channels of the learned correction at half resolution.
        depth: number of residual blocks.
        channels: channels of the image, C.
    """

    def __init__(self, dim: int = 320, width: int = 192, fine: int = 32, depth: int = 3, channels: int = 3) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, dim=dim, width=width, fine=fine, channels=channels)
        check_integers(0, MAX_SIZE, depth=depth)
        self.channels, self.dim, self.stride = channels, dim, (STRIDE, STRIDE)
        self.linear = nn.Conv2d(channels * STRIDE**2, dim, 2)  # 32 × 32 pixels after the pixel unshuffle
        self.fine = nn.Conv2d(channels * HALF_STRIDE**2, fine, 3, padding=1)
        self.fold = nn.Conv2d(fine * (STRIDE // HALF_STRIDE) ** 2, width, 1)
        self.blocks = nn.Sequential(*(Residual(width) for _ in range(depth)))
        self.out = nn.Conv2d(width, dim, 1)

    @property
    def reach(self) -> tuple[Reach, ...]:
        """How many positions before and after a latent influence it, for each axis."""
        positions = 1 + Residual.reach * len(self.blocks)
        return (positions, positions), (positions, positions)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, dim, H/16, W/16)."""
        self.check_signal(x)
        fine = nn.functional.gelu(self.fine(nn.functional.pixel_unshuffle(x, HALF_STRIDE)))
        h = self.blocks(self.fold(nn.functional.pixel_unshuffle(fine, STRIDE // HALF_STRIDE)))
        linear = self.linear(nn.functional.pixel_unshuffle(reflected(x, LAP), STRIDE))
        return linear + self.out(nn.functional.gelu(h))


@part("lapped-decoder")
class LappedDecoder(Decoder):
    """Latents (B, dim, h, w) at a quality index, 0 to 56, to images (B, C, 16 h, 16 w), roughly in [-1, 1].

    Args:
        dim: channels of the latents, D.
        width: channels on the latent grid.
        skip: channels passed from the latent grid to half resolution.
        fine: channels at half resolution.
        depth: number of residual blocks.
        channels: channels of the image, C.
    """

    conditioned = True

    def __init__(
        self, dim: int = 320, width: int = 192, skip: int = 24, fine: int = 32, depth: int = 1, channels: int = 3
    ) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, dim=dim, width=width, skip=skip, fine=fine, channels=channels)
        check_integers(0, MAX_SIZE, depth=depth)
        self.channels, self.dim, self.stride = channels, dim, (STRIDE, STRIDE)
        self.linear = nn.Conv2d(dim, channels * STRIDE**2, 2)
        self.parity_x = nn.Parameter(
            torch.ones(dim, 1, 1)
        )  # factor of a latent channel if the image is mirrored left to right
        self.parity_y = nn.Parameter(torch.ones(dim, 1, 1))
        self.embed = nn.Conv2d(dim, width, 1)
        self.quality = nn.Parameter(torch.empty(ANCHORS, width).normal_(std=0.1))
        self.blocks = nn.Sequential(*(Residual(width) for _ in range(depth)))
        self.unfold = nn.Conv2d(width, skip * (STRIDE // HALF_STRIDE) ** 2, 1)
        self.first = nn.Conv2d(channels * HALF_STRIDE**2 + skip, fine, 3, padding=1)
        self.fine_quality = nn.Parameter(torch.empty(ANCHORS, fine).normal_(std=0.1))
        self.second = nn.Conv2d(fine, fine, 3, padding=1)
        self.last = nn.Conv2d(fine, channels * HALF_STRIDE**2, 3, padding=1)

    @property
    def reach(self) -> tuple[Reach, ...]:
        """How many latent positions before and after a block of 16 × 16 pixels influence it, for each axis."""
        positions = 1 + Residual.reach * len(self.blocks)
        return (positions, positions), (positions, positions)

    def forward(self, z: Tensor, quality_index: Tensor | int | None = None) -> Tensor:
        """Decode latents (B, dim, h, w) to images (B, C, 16 h, 16 w).

        Args:
            z: latents.
            quality_index: one per latent, (B,), or one for all of them; None for 0.
        """
        if not isinstance(quality_index, Tensor):
            quality_index = torch.full((len(z),), quality_index or 0, device=z.device)
        gelu = nn.functional.gelu
        skip = self.unfold(gelu(self.blocks(self.embed(z) + at_quality(self.quality, quality_index).to(z.dtype))))
        linear = nn.functional.pixel_shuffle(self.linear(self._reflected(z)), STRIDE)[..., LAP:-LAP, LAP:-LAP]
        linear = nn.functional.pixel_unshuffle(linear, HALF_STRIDE)
        fine = self.first(torch.cat((linear, nn.functional.pixel_shuffle(skip, STRIDE // HALF_STRIDE)), 1))
        fine = self.second(gelu(fine + at_quality(self.fine_quality, quality_index).to(z.dtype)))
        return nn.functional.pixel_shuffle(linear + self.last(gelu(fine)), HALF_STRIDE)

    def _reflected(self, z: Tensor) -> Tensor:
        """Extend by one position on each side. The latents of a mirrored block are those of the block times parity."""
        z = torch.cat((z[..., :1] * self.parity_x, z, z[..., -1:] * self.parity_x), 3)
        return torch.cat((z[..., :1, :] * self.parity_y, z, z[..., -1:, :] * self.parity_y), 2)


def reflected(x: Tensor, margin: int) -> Tensor:
    """(B, C, H, W) to (B, C, H + 2 margin, W + 2 margin), reflected so that edge pixels are repeated."""
    x = torch.cat((x[..., :margin].flip(3), x, x[..., -margin:].flip(3)), 3)
    return torch.cat((x[..., :margin, :].flip(2), x, x[..., -margin:, :].flip(2)), 2)
