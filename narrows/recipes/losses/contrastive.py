"""Contrastive loss between latents and the embeddings of a trained image network."""

import math

import torch
from torch import Tensor, nn

from narrows.codecs import distributed as ranks
from narrows.recipes.losses.backbone import Backbone

MAX_SCALE = 100.0  # largest factor of cosine similarities, an inverse temperature
INITIAL_SCALE = 1 / 0.07


class ContrastiveLoss(nn.Module):
    """Symmetric contrastive loss (CLIP, Radford et al., arXiv 2103.00020, figure 3) between latents and a teacher.

    The mean of an image's latents is normalized and mapped linearly to an embedding, which has to match the teacher's
    embedding of this image among those of the batches of all ranks, and the reverse. UniTok (Ma et al., arXiv
    2502.20321, section 3.1) has such a loss with text embeddings; here the teacher is an image network. The mean of the
    ranks' losses is the loss of the whole batch, and so is the mean of their gradients.

    Args:
        teacher: Network of the target embeddings.
        dim: Channels of the latents.
    """

    def __init__(self, teacher: Backbone, dim: int) -> None:
        super().__init__()
        self.teacher = teacher
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, teacher.dim)
        self.log_scale = nn.Parameter(torch.tensor(math.log(INITIAL_SCALE)))

    def forward(self, latents: Tensor, target: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            latents: Latents (B, dim, h, w).
            target: Their images (B, 3, H, W) in [-1, 1].

        Returns:
            Cross-entropy in nats, a scalar.
        """
        with torch.no_grad():
            expected = nn.functional.normalize(self.teacher(target).float(), dim=1)
        with torch.autocast(latents.device.type, enabled=False):
            embeddings = nn.functional.normalize(self.head(self.norm(latents.float().flatten(2).mean(2))), dim=1)
            to_all, from_all = embeddings @ ranks.gather(expected).T, expected @ ranks.gather(embeddings).T
        scale = self.log_scale.clamp(0, math.log(MAX_SCALE)).exp()
        labels = ranks.rank() * len(latents) + torch.arange(len(latents), device=latents.device)
        cross_entropy = nn.functional.cross_entropy
        return (cross_entropy(scale * to_all, labels) + cross_entropy(scale * from_all, labels)) / 2
