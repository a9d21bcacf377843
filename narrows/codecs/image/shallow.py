"""Shallow synthesis transforms (Yang and Mandt, arXiv 2304.06244): decoders of one or two layers, as cheap as JPEG's.

one layer     z ─ 18 × 18, stride 16 ─▶ image
two layers    z ─┬─ 13 × 13, stride 8, inverse GDN ─┐
                 └─ 13 × 13, stride 8 ──────────────┴─ + ─ 5 × 5, stride 2 ─▶ image
"""

from torch import Tensor, nn

from narrows.codecs.checks import MOST, check_whole
from narrows.codecs.layers.gdn import GDN
from narrows.parts import part

STRIDE = 16


@part("linear-synthesis")
class LinearSynthesis(nn.Module):
    """Latents (B, dim, h, w) to images (B, 3, 16 h, 16 w) by one transposed convolution: a learned basis of patches."""

    reach = 1

    def __init__(self, dim: int = 320) -> None:
        super().__init__()
        check_whole(1, MOST, dim=dim)
        self.axes, self.dim, self.stride = 2, dim, STRIDE
        self.synthesis = nn.ConvTranspose2d(dim, 3, 18, stride=STRIDE, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """(B, dim, h, w) to (B, 3, 16 h, 16 w)."""
        out: Tensor = self.synthesis(z)
        return out


@part("shallow-decoder")
class ShallowDecoder(nn.Module):
    """Latents (B, dim, h, w) to images (B, 3, 16 h, 16 w). width: channels at half the image's size."""

    reach = 2

    def __init__(self, dim: int = 320, width: int = 12) -> None:
        super().__init__()
        check_whole(1, MOST, dim=dim, width=width)
        self.axes, self.dim, self.stride = 2, dim, STRIDE
        self.bent = nn.ConvTranspose2d(dim, width, 13, stride=8, padding=3, output_padding=1)
        self.norm = GDN(width, inverse=True)
        self.straight = nn.ConvTranspose2d(dim, width, 13, stride=8, padding=3, output_padding=1)
        self.out = nn.ConvTranspose2d(width, 3, 5, stride=2, padding=2, output_padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """(B, dim, h, w) to (B, 3, 16 h, 16 w)."""
        out: Tensor = self.out(self.norm(self.bent(z)) + self.straight(z))
        return out
