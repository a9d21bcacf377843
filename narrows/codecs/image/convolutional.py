"""The convolutional transforms of learned image compression (Ballé et al., arXiv 1802.01436).

(B, 3, H, W) ─ 5 × 5, stride 2, GDN ─ 5 × 5, stride 2, GDN ─ 5 × 5, stride 2, GDN ─ 5 × 5, stride 2 ─▶ (B, D, h, w)
(B, D, h, w) ─ the same with transposed convolutions and inverse GDN ───────────────────────────────▶ (B, 3, H, W)
"""

from itertools import pairwise

from torch import Tensor, nn

from narrows.codecs.checks import MOST, check_images, check_whole
from narrows.codecs.layers.gdn import GDN
from narrows.parts import part

STRIDE = 16


@part("conv-encoder")
class ConvEncoder(nn.Module):
    """Images (B, 3, H, W) in [-1, 1], sides multiples of 16, to latents (B, dim, H/16, W/16).

    width: channels inside.
    """

    reach = 2  # 2 + 4 + 8 + 16 pixels to each side

    def __init__(self, dim: int = 192, width: int = 128) -> None:
        super().__init__()
        check_whole(1, MOST, dim=dim, width=width)
        self.axes, self.dim, self.stride = 2, dim, STRIDE
        sizes = (3, width, width, width, dim)
        convs = [nn.Conv2d(a, b, 5, stride=2, padding=2) for a, b in pairwise(sizes)]
        self.layers = nn.Sequential(convs[0], GDN(width), convs[1], GDN(width), convs[2], GDN(width), convs[3])

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, dim, H/16, W/16)."""
        check_images(x, STRIDE)
        out: Tensor = self.layers(x)
        return out


@part("conv-decoder")
class ConvDecoder(nn.Module):
    """Latents (B, dim, h, w) to images (B, 3, 16 h, 16 w). width: channels inside."""

    reach = 3  # 1 + 1/2 + 1/4 + 1/8 positions to each side, and what rounds them up

    def __init__(self, dim: int = 192, width: int = 128) -> None:
        super().__init__()
        check_whole(1, MOST, dim=dim, width=width)
        self.axes, self.dim, self.stride = 2, dim, STRIDE
        sizes = (dim, width, width, width, 3)
        convs = [nn.ConvTranspose2d(a, b, 5, stride=2, padding=2, output_padding=1) for a, b in pairwise(sizes)]
        norms = [GDN(width, inverse=True) for _ in range(3)]
        self.layers = nn.Sequential(convs[0], norms[0], convs[1], norms[1], convs[2], norms[2], convs[3])

    def forward(self, z: Tensor) -> Tensor:
        """(B, dim, h, w) to (B, 3, 16 h, 16 w)."""
        out: Tensor = self.layers(z)
        return out
