"""Shallow synthesis transforms (Yang and Mandt, arXiv 2304.06244): decoders of one or two layers.

one layer     z ─ 18 × 18, stride 16 ─▶ image
two layers    z ─┬─ 13 × 13, stride 8, inverse GDN ─┐
                 └─ 13 × 13, stride 8 ──────────────┴─ + ─ 5 × 5, stride 2 ─▶ image
"""

from torch import Tensor, nn

from narrows.codecs.base import Decoder, Reach
from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.codecs.layers.gdn import GDN
from narrows.parts import part

STRIDE = 16


@part("linear-synthesis")
class LinearSynthesis(Decoder):
    """Latents (B, dim, h, w) to images (B, C, 16 h, 16 w) by one transposed convolution: a learned basis of patches.

    Args:
        dim: D of the latents.
        channels: C.
    """

    reach: tuple[Reach, ...] = ((1, 1), (1, 1))

    def __init__(self, dim: int = 320, channels: int = 3) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, dim=dim, channels=channels)
        self.channels, self.dim, self.stride = channels, dim, (STRIDE, STRIDE)
        self.synthesis = nn.ConvTranspose2d(dim, channels, 18, stride=STRIDE, padding=1)

    def forward(self, z: Tensor, quality_index: Tensor | int | None = None) -> Tensor:
        """(B, dim, h, w) to (B, C, 16 h, 16 w)."""
        out: Tensor = self.synthesis(z)
        return out


@part("shallow-decoder")
class ShallowDecoder(Decoder):
    """Latents (B, dim, h, w) to images (B, C, 16 h, 16 w).

    Args:
        dim: D of the latents.
        width: channels at half the size of the image.
        channels: C.
    """

    reach: tuple[Reach, ...] = ((2, 2), (2, 2))

    def __init__(self, dim: int = 320, width: int = 12, channels: int = 3) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, dim=dim, width=width, channels=channels)
        self.channels, self.dim, self.stride = channels, dim, (STRIDE, STRIDE)
        self.nonlinear = nn.ConvTranspose2d(dim, width, 13, stride=8, padding=3, output_padding=1)
        self.norm = GDN(width, inverse=True)
        self.shortcut = nn.ConvTranspose2d(dim, width, 13, stride=8, padding=3, output_padding=1)
        self.out = nn.ConvTranspose2d(width, channels, 5, stride=2, padding=2, output_padding=1)

    def forward(self, z: Tensor, quality_index: Tensor | int | None = None) -> Tensor:
        """(B, dim, h, w) to (B, C, 16 h, 16 w)."""
        out: Tensor = self.out(self.norm(self.nonlinear(z)) + self.shortcut(z))
        return out
