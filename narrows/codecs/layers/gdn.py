"""Generalized divisive normalization (Ballé et al., arXiv 1511.06281): each channel divided by a norm of all."""

import torch
from torch import Tensor, nn

from narrows.codecs.layers.density import lower_bound

OFFSET = 2.0**-18  # keeps the gradient of a square root finite at zero
MIN_BETA = 1e-6


class GDN(nn.Module):
    """y_i = x_i / sqrt(beta_i + sum_j gamma_ij x_j²), at each position of (B, C, H, W).

    Square roots of beta and gamma are stored, so that training keeps both positive.

    Args:
        channels: C.
        inverse: multiply by the square root instead of dividing: the approximate inverse, for decoders.
    """

    def __init__(self, channels: int, inverse: bool = False) -> None:
        super().__init__()
        self.inverse = inverse
        self.root_beta = nn.Parameter((torch.ones(channels) + OFFSET**2).sqrt())
        self.root_gamma = nn.Parameter((0.1 * torch.eye(channels) + OFFSET**2).sqrt())

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        beta = lower_bound(self.root_beta, (MIN_BETA + OFFSET**2) ** 0.5).square() - OFFSET**2
        gamma = lower_bound(self.root_gamma, OFFSET).square() - OFFSET**2
        norm = nn.functional.conv2d(x.square(), gamma[:, :, None, None], beta)
        return x * (norm.sqrt() if self.inverse else norm.rsqrt())
