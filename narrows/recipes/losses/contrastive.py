"""Contrastive loss between latents and the embeddings of a trained image network."""

import torch
from torch import Tensor

from narrows.recipes.losses.backbone import Backbone
from narrows.recipes.losses.structure import AlignmentLoss


class ContrastiveLoss(AlignmentLoss):
    """Contrastive AlignmentLoss between the latents of images and a teacher's embeddings of the images.

    UniTok (Ma et al., arXiv 2502.20321, section 3.1) has such a loss with text embeddings; here the teacher is an image
    network.

    Args:
        teacher: Network of the target embeddings.
        dim: Channels of the latents.
    """

    def __init__(self, teacher: Backbone, dim: int) -> None:
        super().__init__(dim, teacher.dim, "contrastive")
        self.teacher = teacher

    def forward(self, y: Tensor, target: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            y: Latents (B, dim, h, w).
            target: Their images (B, 3, H, W) in [-1, 1].

        Returns:
            Cross-entropy in nats, a scalar.
        """
        with torch.no_grad():
            embeddings = self.teacher(target)
        return super().forward(y, embeddings)
