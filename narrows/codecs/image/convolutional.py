"""The convolutional transforms of learned image compression (Ballé et al., arXiv 1802.01436).

(B, 3, H, W) ─ 5 × 5, stride 2, GDN ─ 5 × 5, stride 2, GDN ─ 5 × 5, stride 2, GDN ─ 5 × 5, stride 2 ─▶ (B, D, h, w)
(B, D, h, w) ─ the same with transposed convolutions and inverse GDN ───────────────────────────────▶ (B, 3, H, W)
"""

from itertools import pairwise

from torch import Tensor, nn

from narrows.codecs.base import Decoder, Encoder, Reach
from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.codecs.layers.gdn import GDN
from narrows.parts import part

STRIDE = 16


@part("conv-encoder")
class ConvEncoder(Encoder):
    """Images (B, C, H, W) in [-1, 1], sides multiples of 16, to latents (B, dim, H/16, W/16).

    Args:
        dim: D of the latents.
        width: channels inside.
        channels: C.
    """

    reach: tuple[Reach, ...] = ((2, 2), (2, 2))  # 2 + 4 + 8 + 16 pixels to each side

    def __init__(self, dim: int = 192, width: int = 128, channels: int = 3) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, dim=dim, width=width, channels=channels)
        self.channels, self.dim, self.stride = channels, dim, (STRIDE, STRIDE)
        sizes = (channels, width, width, width, dim)
        convs = [nn.Conv2d(a, b, 5, stride=2, padding=2) for a, b in pairwise(sizes)]
        self.layers = nn.Sequential(convs[0], GDN(width), convs[1], GDN(width), convs[2], GDN(width), convs[3])

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, dim, H/16, W/16)."""
        self.check_signal(x)
        out: Tensor = self.layers(x)
        return out


@part("conv-decoder")
class ConvDecoder(Decoder):
    """Latents (B, dim, h, w) to images (B, C, 16 h, 16 w).

    Args:
        dim, width, channels: as of the encoder.
    """

    reach: tuple[Reach, ...] = ((3, 3), (3, 3))  # 1 + 1/2 + 1/4 + 1/8 positions to each side, rounded up

    def __init__(self, dim: int = 192, width: int = 128, channels: int = 3) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, dim=dim, width=width, channels=channels)
        self.channels, self.dim, self.stride = channels, dim, (STRIDE, STRIDE)
        sizes = (dim, width, width, width, channels)
        convs = [nn.ConvTranspose2d(a, b, 5, stride=2, padding=2, output_padding=1) for a, b in pairwise(sizes)]
        norms = [GDN(width, inverse=True) for _ in range(3)]
        self.layers = nn.Sequential(convs[0], norms[0], convs[1], norms[1], convs[2], norms[2], convs[3])

    def forward(self, z: Tensor, quality_index: Tensor | int | None = None) -> Tensor:
        """(B, dim, h, w) to (B, C, 16 h, 16 w)."""
        out: Tensor = self.layers(z)
        return out
