"""Image losses that need no pretrained network. For the mean absolute error use `torch.nn.L1Loss`."""

import torch
from torch import Tensor, nn

from narrows.codecs.checks import check_integers

KERNEL = (0.05, 0.25, 0.4, 0.25, 0.05)  # low-pass filter (Burt and Adelson, IEEE TCOM 31(4), 1983)
MIN_AMPLITUDE = 0.1  # added to the local amplitude, in a range of 2 from black to white


class LaplacianPyramidLoss(nn.Module):
    """Distance between normalized Laplacian pyramids (Laparra et al., arXiv 1701.06641, section 2).

    Each level of a Laplacian pyramid is divided by its local amplitude, so that a difference counts relative to the
    local contrast. The loss is the mean absolute difference, averaged over levels. The paper fits the filters
    of the amplitude and squares the differences; here the amplitude is the low-pass filtered magnitude.

    Args:
        levels: Number of levels of the pyramid, 1 to 16; small images use fewer.
    """

    kernel: Tensor

    def __init__(self, levels: int = 5) -> None:
        super().__init__()
        check_integers(1, 16, levels=levels)
        self.levels = levels
        taps = torch.tensor(KERNEL)
        self.register_buffer("kernel", (taps[:, None] * taps).expand(3, 1, 5, 5).contiguous(), persistent=False)

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """Loss between two batches of images (B, 3, H, W) in [-1, 1], a scalar."""
        with torch.autocast(x.device.type, enabled=False):
            pairs = zip(self.pyramid(x.float()), self.pyramid(target.float()), strict=True)
            return torch.stack([(a - b).abs().mean() for a, b in pairs]).mean()

    def pyramid(self, x: Tensor) -> list[Tensor]:
        """Normalized levels of images (B, 3, H, W), the finest first; the last is the normalized low-pass residual."""
        levels = []
        for _ in range(self.levels - 1):
            if min(x.shape[2:]) < 6:
                break
            small = self._low_pass(x)[..., ::2, ::2]
            large = nn.functional.interpolate(small, x.shape[2:], mode="bilinear", align_corners=False)
            levels.append(self._normalize(x - large))
            x = small
        return [*levels, self._normalize(x)]

    def _normalize(self, level: Tensor) -> Tensor:
        return level / (MIN_AMPLITUDE + self._low_pass(level.abs()))

    def _low_pass(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(nn.functional.pad(x, (2, 2, 2, 2), mode="replicate"), self.kernel, groups=3)
