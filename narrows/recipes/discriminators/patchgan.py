"""PatchGAN discriminator of images (Isola et al., pix2pix, arXiv 1611.07004, section 3.2), as VQGAN has it."""

from itertools import pairwise

from torch import Tensor, nn


class PatchGANDiscriminator(nn.Module):
    """Convolutional discriminator with one logit for each of the overlapping patches of 70 × 70 pixels.

    Args:
        width: Channels of the first layer.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        widths = (width, 2 * width, 4 * width, 8 * width)
        self.first = nn.Conv2d(3, width, 4, 2, 1)
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 4, stride, 1, bias=False)
            for (a, b), stride in zip(pairwise(widths), (2, 2, 1), strict=True)
        )
        # Statistics are always those of the batch: none are kept that ranks would have to share, or NaN would spoil.
        self.norms = nn.ModuleList(nn.BatchNorm2d(size, track_running_stats=False) for size in widths[1:])
        self.last = nn.Conv2d(widths[-1], 1, 4, 1, 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Compute the features of each layer from images (B, 3, H, W), H, W >= 32; the logits (B, 1, h, w) are last."""
        features = [nn.functional.leaky_relu(self.first(x), 0.2)]
        for conv, norm in zip(self.convs, self.norms, strict=True):
            features.append(nn.functional.leaky_relu(norm(conv(features[-1])), 0.2))
        return [*features, self.last(features[-1])]
