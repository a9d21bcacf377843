"""Attention within windows that do not overlap (SNAC, arXiv 2410.14411, section 3.4)."""

import torch
from torch import Tensor, nn

from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.errors import InputError

HEAD = 64  # channels of a head
PERIOD = 10_000.0  # of the slowest rotation, in radians per position: 2 pi times this


class LocalAttention(nn.Module):
    """(B, C, T) plus what each position gathers from its window. T is a multiple of the window.

    Positions within a window are encoded by rotation (Su et al., arXiv 2104.09864) of channels i and i + 32 of a head.

    Args:
        channels: C, a multiple of 64, the channels of a head.
        window: positions that see each other: the first `window`, the next `window`, and so on.
    """

    def __init__(self, channels: int, window: int) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, channels=channels, window=window)
        if channels % HEAD:
            raise InputError(f"expected attention over a multiple of {HEAD} channels, got {channels}")
        self.window = window
        self.norm = nn.LayerNorm(channels)
        self.to_qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.to_out = nn.Linear(channels, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) to the same shape."""
        windows = self.norm(x.transpose(1, 2)).unflatten(1, (-1, self.window)).flatten(0, 1)  # (B n, window, C)
        projected = self.to_qkv(windows).unflatten(2, (3, -1, HEAD)).permute(2, 0, 3, 1, 4)
        queries, keys, values = projected.unbind()  # (B n, heads, window, 64)
        seen = nn.functional.scaled_dot_product_attention(_rotated(queries), _rotated(keys), values)
        out = self.to_out(seen.transpose(1, 2).flatten(2)).unflatten(0, (len(x), -1))  # (B, n, window, C)
        return out.flatten(1, 2).transpose(1, 2) + x


def _rotated(x: Tensor) -> Tensor:
    """x (..., T, d) with channels i and i + d / 2 rotated by the position times a frequency."""
    half = x.shape[-1] // 2
    exponents = torch.arange(half, device=x.device, dtype=torch.float32) / half
    angles = torch.arange(x.shape[-2], device=x.device)[:, None] * PERIOD**-exponents
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    real, imaginary = x.chunk(2, -1)
    return torch.cat((real * cos - imaginary * sin, imaginary * cos + real * sin), -1)
