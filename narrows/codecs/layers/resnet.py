"""Residual and attention blocks of VQGAN on one axis of positions (Esser et al., arXiv 2012.09841).

Their norms see all positions, so the reach is unbounded.
"""

from torch import Tensor, nn

from narrows.errors import InputError

GROUPS = 32  # of the channels, for norms
EPSILON = 1e-6


def group_norm(channels: int) -> nn.GroupNorm:
    """A norm over all positions, of 32 groups of channels. Raises InputError if these cannot be split."""
    if channels % GROUPS:
        raise InputError(f"expected a multiple of {GROUPS} channels, got {channels}")
    return nn.GroupNorm(GROUPS, channels, EPSILON)


class ResidualBlock(nn.Module):
    """(B, C, F) to the same: x plus two convolutions of kernel 3, each after a norm and SiLU.

    Args:
        channels: C, a multiple of 32.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = group_norm(channels), nn.Conv1d(channels, channels, 3, padding=1)
        self.norm2, self.conv2 = group_norm(channels), nn.Conv1d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, F) to the same shape."""
        h = self.conv1(nn.functional.silu(self.norm1(x)))
        out: Tensor = self.conv2(nn.functional.silu(self.norm2(h)))
        return x + out


class AttentionBlock(nn.Module):
    """(B, C, F) to the same: x plus attention of one head over all positions.

    Args:
        channels: C, a multiple of 32.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = group_norm(channels)
        self.q, self.k, self.v, self.proj_out = (nn.Conv1d(channels, channels, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, F) to the same shape."""
        h = self.norm(x)
        query, key, value = (layer(h).transpose(1, 2) for layer in (self.q, self.k, self.v))  # (B, F, C)
        h = nn.functional.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.proj_out(h.transpose(1, 2))
        return x + out
