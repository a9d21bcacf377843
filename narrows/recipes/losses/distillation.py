"""Losses that make one classifier do what another does (Entropic Student, Matsubara et al., arXiv 2108.11898)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class FeatureMatchingDistillation(nn.Module):
    """Sum of squared differences between the features of two networks, summed over layers; mean over the batch."""

    def forward(self, features: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
        """Loss between features (B, C, h, w) of several layers, a scalar."""
        pairs = zip(features, target, strict=True)
        return torch.stack([(a.float() - b.float()).square().flatten(1).sum(1).mean() for a, b in pairs]).sum()


class KnowledgeDistillation(nn.Module):
    """Cross-entropy with the labels, and divergence from the probabilities of a teacher (arXiv 1503.02531).

    Args:
        alpha: weight of the cross-entropy, 0 to 1; the divergence has the rest.
        temperature: by which logits are divided for the divergence, whose gradient is scaled back by its square.
    """

    def __init__(self, alpha: float = 0.5, temperature: float = 1.0) -> None:
        super().__init__()
        self.alpha, self.temperature = alpha, temperature

    def forward(self, logits: Tensor, labels: Tensor, target: Tensor) -> Tensor:
        """Loss of logits (B, classes) with labels (B,) and the logits of the teacher, a scalar."""
        own, other = ((each.float() / self.temperature).log_softmax(1) for each in (logits, target))
        divergence = nn.functional.kl_div(own, other, reduction="batchmean", log_target=True)
        cross_entropy = nn.functional.cross_entropy(logits.float(), labels)
        return self.alpha * cross_entropy + (1 - self.alpha) * self.temperature**2 * divergence
