"""The transforms around a bottleneck inside a classifier (Entropic Student, Matsubara et al., arXiv 2108.11898).

(B, C, H, W) ─ 5 × 5, stride 2, GDN ─ 5 × 5, stride 2, GDN ─ 3 × 3 ─▶ latents (B, dim, h, w)
latents ─ 3 × 3, inverse GDN ─ 3 × 3, inverse GDN ─ 3 × 3 ─▶ features (B, C, h, w) of the classifier

The published kernels of 2 × 2, whose paddings change the size of the grid, are 3 × 3 here.
"""

from collections.abc import Sequence
from math import ceil

from torch import Tensor, nn

from narrows.codecs.base import Decoder, Encoder, Reach
from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.codecs.image.classifiers import check_strides
from narrows.codecs.layers.gdn import GDN
from narrows.parts import part


@part("classifier-encoder")
class ClassifierEncoder(Encoder):
    """Images (B, C, H, W) in [-1, 1], sides multiples of the stride, to latents (B, dim, h, w).

    Args:
        dim: D of the latents.
        width: channels inside.
        strides: stride of each convolution, 1 or 2.
        channels: C.
    """

    def __init__(self, dim: int = 24, width: int = 96, strides: Sequence[int] = (2, 2, 1), channels: int = 3) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, dim=dim, width=width, channels=channels)
        self.channels, self.dim, self.stride = channels, dim, (check_strides(strides),) * 2
        layers: list[nn.Module] = []
        before, pixels, reach = channels, 1, 0
        for index, stride in enumerate(strides):
            after, margin = (dim if index == len(strides) - 1 else width), stride  # 3 × 3, or 5 × 5 with stride 2
            layers += [nn.Conv2d(before, after, 2 * margin + 1, stride=stride, padding=margin, bias=False), GDN(after)]
            before, reach, pixels = after, reach + margin * pixels, pixels * stride
        self.layers = nn.Sequential(*layers[:-1])
        self._reach = ceil(reach / pixels)

    @property
    def reach(self) -> tuple[Reach, ...]:
        """See `Network.reach`."""
        return ((self._reach, self._reach),) * 2

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, dim, h, w)."""
        self.check_signal(x)
        out: Tensor = self.layers(x)
        return out


@part("classifier-decoder")
class ClassifierDecoder(Decoder):
    """Latents (B, dim, h, w) to features (B, C, stride h, stride w) of a classifier.

    Args:
        dim: D of the latents.
        width: channels inside.
        strides: factor by which each convolution enlarges the grid, 1 or 2.
        channels: C of the features.
    """

    def __init__(self, dim: int = 24, width: int = 256, strides: Sequence[int] = (1, 1, 1), channels: int = 64) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, dim=dim, width=width, channels=channels)
        self.channels, self.dim, self.stride = channels, dim, (check_strides(strides),) * 2
        layers: list[nn.Module] = []
        before, scale, reach = dim, 1, 0.0
        for index, stride in enumerate(strides):
            after = channels if index == len(strides) - 1 else width
            if stride == 1:
                layers.append(nn.Conv2d(before, after, 3, padding=1, bias=False))
            else:
                layers.append(nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False))
            layers.append(GDN(after, inverse=True))
            before, reach, scale = after, reach + 1 / scale, scale * stride
        self.layers = nn.Sequential(*layers[:-1])
        self._reach = ceil(reach)

    @property
    def reach(self) -> tuple[Reach, ...]:
        """See `Network.reach`."""
        return ((self._reach, self._reach),) * 2

    def forward(self, z: Tensor, quality_index: Tensor | int | None = None) -> Tensor:
        """(B, dim, h, w) to (B, C, stride h, stride w)."""
        out: Tensor = self.layers(z)
        return out
