"""Distances between pictures that need no trained network: of their pixels, and of their contrasts at several sizes."""

import torch
from torch import Tensor, nn

from narrows.codecs.checks import check_whole

TAPS = (0.05, 0.25, 0.4, 0.25, 0.05)  # of the low-pass filter (Burt and Adelson, IEEE TCOM 31(4), 1983)
FLOOR = 0.1  # local contrast, of 2 from black to white, below which differences count by their size alone


class PixelDistance(nn.Module):
    """Mean |x - target|."""

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """Two pictures (B, 3, H, W) to a scalar."""
        return (x - target).abs().mean()


class PyramidDistance(nn.Module):
    """Distance of normalized Laplacian pyramids (Laparra et al., arXiv 1701.06641, section 2).

    Each level of a Laplacian pyramid is divided by its own local amplitude, so that a difference counts by its contrast
    to what is around it; mean |difference| is averaged over the levels. Their measure has fitted filters of amplitude
    and an exponent of 2; here the pyramid's own low-pass filter takes the amplitude, and the exponent is 1.

    levels: of the pyramid; a picture too small for all has fewer.
    """

    kernel: Tensor

    def __init__(self, levels: int = 5) -> None:
        super().__init__()
        check_whole(1, 16, levels=levels)
        self.levels = levels
        taps = torch.tensor(TAPS)
        self.register_buffer("kernel", (taps[:, None] * taps).expand(3, 1, 5, 5).contiguous(), persistent=False)

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """Two pictures (B, 3, H, W) in [-1, 1] to a scalar."""
        with torch.autocast(x.device.type, enabled=False):
            pairs = zip(self.pyramid(x.float()), self.pyramid(target.float()), strict=True)
            return torch.stack([(a - b).abs().mean() for a, b in pairs]).mean()

    def pyramid(self, x: Tensor) -> list[Tensor]:
        """The normalized levels of a picture (B, 3, H, W), the finest first; the last is what is left of it."""
        made = []
        for _ in range(self.levels - 1):
            if min(x.shape[2:]) < 6:
                break
            small = self._low(x)[..., ::2, ::2]
            large = nn.functional.interpolate(small, x.shape[2:], mode="bilinear", align_corners=False)
            made.append(self._normalized(x - large))
            x = small
        return [*made, self._normalized(x)]

    def _normalized(self, level: Tensor) -> Tensor:
        return level / (FLOOR + self._low(level.abs()))

    def _low(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(nn.functional.pad(x, (2, 2, 2, 2), mode="replicate"), self.kernel, groups=3)
