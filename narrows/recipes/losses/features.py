"""Losses that look at pictures through a trained network: what it sees of them, and what it takes them for."""

import math

import torch
from torch import Tensor, nn

from narrows.recipes.losses.backbone import Backbone

TINY = 1e-10  # under the root of a norm, whose gradient at zero would be infinite
SHARPEST = 100.0  # factor of the cosines
FIRST = 1 / 0.07  # the same at the beginning


class FeatureDistance(nn.Module):
    """Mean squared distance of features of unit length at each place, averaged over the layers of a network.

    Zhang et al. (LPIPS, arXiv 1801.03924, section 3), without their calibration of channels.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """Two pictures (B, 3, H, W) in [-1, 1] to a scalar."""
        with torch.no_grad():
            wanted = self.backbone.layers(target)
        pairs = zip(self.backbone.layers(x), wanted, strict=True)
        return torch.stack([(_unit(a) - _unit(b)).square().sum(1).mean() for a, b in pairs]).mean()


class SemanticContrast(nn.Module):
    """Contrast between what a teacher takes pictures for and what can be read from their latents, in nats.

    A picture's vector is a linear map of the mean of its latents; it shall be nearer to the teacher's vector of this
    picture than to those of the others in the batch, and the other way round (Ma et al., UniTok, arXiv 2502.20321,
    section 3.1, with a teacher of pictures in place of one of texts; Radford et al., arXiv 2103.00020, figure 3).

    dim: channels of the latents.
    """

    def __init__(self, teacher: Backbone, dim: int) -> None:
        super().__init__()
        self.teacher = teacher
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, teacher.dim)
        self.log_scale = nn.Parameter(torch.tensor(math.log(FIRST)))

    def forward(self, latents: Tensor, target: Tensor) -> Tensor:
        """Latents (B, dim, h, w) and their pictures (B, 3, H, W) in [-1, 1] to a scalar."""
        with torch.no_grad():
            wanted = nn.functional.normalize(self.teacher(target).float(), dim=1)
        with torch.autocast(latents.device.type, enabled=False):
            read = self.head(self.norm(latents.float().flatten(2).mean(2)))
            cosines = nn.functional.normalize(read, dim=1) @ wanted.T
        scores = self.log_scale.clamp(0, math.log(SHARPEST)).exp() * cosines
        same = torch.arange(len(scores), device=scores.device)
        entropy = nn.functional.cross_entropy
        return (entropy(scores, same) + entropy(scores.T, same)) / 2


def _unit(features: Tensor) -> Tensor:
    features = features.float()
    return features / (features.square().sum(1, keepdim=True) + TINY).sqrt()
