"""Perceptual loss: distance between the features of a trained image network."""

import torch
from torch import Tensor, nn

from narrows.recipes.losses.backbone import Backbone

EPSILON = 1e-10  # added under the square root of a norm, whose gradient at zero would be infinite


class PerceptualLoss(nn.Module):
    """Squared distance of features normalized over channels, averaged over positions and layers.

    This is LPIPS (Zhang et al., arXiv 1801.03924, section 3) without its learned channel weights.

    Args:
        backbone: Network whose features are compared.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """Loss between two batches of images (B, 3, H, W) in [-1, 1], a scalar."""
        with torch.no_grad():
            expected = self.backbone.features(target)
        pairs = zip(self.backbone.features(x), expected, strict=True)
        return torch.stack([(_normalize(a) - _normalize(b)).square().sum(1).mean() for a, b in pairs]).mean()


def _normalize(features: Tensor) -> Tensor:
    features = features.float()
    return features / (features.square().sum(1, keepdim=True) + EPSILON).sqrt()
