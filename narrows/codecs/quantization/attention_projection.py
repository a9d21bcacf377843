"""Projections by attention over all positions (Ma et al., UniTok, arXiv 2502.20321, section 3.3, and its public code).

y = linear(norm(x)) + attention(norm(x))        latents = y + gated(norm(y))
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.errors import InputError
from narrows.parts import part


@part("attention-projection")
class AttentionProjection(nn.Module):
    """Latents (B, D, *grid) ⇄ vectors (B, *grid, d) float32. Each position depends on all others.

    Attention has the larger width of D and d. The narrowing one, from 1024 to 64 channels with 16 heads 3.2 million
    parameters, takes the mean over the heads; the widening one, 7.6 million parameters, concatenates them.

    Args:
        dim: number of latent channels D.
        inner: length of the vectors d.
        heads: number of attention heads, a divisor of the larger of D and d; UniTok has D / d. If a head is not as wide
            as the narrower side, the mean head is pooled to that width.
    """

    kind: ClassVar[str] = "projection"
    global_context = True

    def __init__(self, dim: int = 64, inner: int = 64, heads: int = 8) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, dim=dim, inner=inner, heads=heads)
        if max(dim, inner) % heads:
            raise InputError(f"expected heads to divide the larger of dim={dim} and inner={inner}, got {heads}")
        self.dim, self.inner = dim, inner
        self.down_block, self.up_block = _Block(dim, inner, heads), _Block(inner, dim, heads)

    def down(self, z: Tensor) -> Tensor:
        """Project latents (B, D, *grid) to vectors (B, *grid, d)."""
        with torch.autocast(z.device.type, enabled=False):
            return self.down_block(z.flatten(2).transpose(1, 2)).unflatten(1, z.shape[2:])

    def up(self, vectors: Tensor) -> Tensor:
        """Project vectors (B, *grid, d) to latents (B, D, *grid) float32."""
        grid = vectors.shape[1:-1]
        with torch.autocast(vectors.device.type, enabled=False):
            return self.up_block(vectors.flatten(1, -2)).transpose(1, 2).unflatten(2, grid)


class _Block(nn.Module):
    """Attention and gated layers from (B, N, in) to (B, N, out)."""

    def __init__(self, width: int, out: int, heads: int) -> None:
        super().__init__()
        self.norm_direct, self.direct = nn.LayerNorm(width), nn.Linear(width, out)
        self.norm_attention, self.attention = nn.LayerNorm(width), _Attention(width, out, heads)
        self.norm_gated, self.gated = nn.LayerNorm(out), _Gated(out)

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.direct.weight.dtype)  # float32, unless the whole module was cast
        y = self.direct(self.norm_direct(x)) + self.attention(self.norm_attention(x))
        return (y + self.gated(self.norm_gated(y))).float()


class _Attention(nn.Module):
    """Attention of max(in, out) channels. Queries and values have a bias, keys have none."""

    def __init__(self, width: int, out: int, heads: int) -> None:
        super().__init__()
        self.heads, self.out, self.narrows = heads, out, width > out
        inner = max(width, out)
        self.attend = nn.Linear(width, 3 * inner, bias=False)
        self.query_bias, self.value_bias = nn.Parameter(torch.zeros(inner)), nn.Parameter(torch.zeros(inner))
        self.merge = nn.Linear(out, out)

    def forward(self, x: Tensor) -> Tensor:
        bias = torch.cat([self.query_bias, torch.zeros_like(self.query_bias), self.value_bias])
        projected = nn.functional.linear(x, self.attend.weight, bias)  # (B, N, 3 inner)
        query, key, value = projected.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = nn.functional.scaled_dot_product_attention(query, key, value)  # (B, heads, N, inner / heads)
        if not self.narrows:
            return self.merge(attended.transpose(1, 2).flatten(2))
        mean = attended.mean(1)
        return self.merge(mean if mean.shape[2] == self.out else nn.functional.adaptive_avg_pool1d(mean, self.out))


class _Gated(nn.Module):
    """Gated layer with a GELU gate (GEGLU, arXiv 2002.05202) and a norm of its own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.gate, self.value = nn.Linear(width, 2 * width), nn.Linear(width, 2 * width)
        self.shrink = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        return self.shrink(nn.functional.gelu(self.gate(x), approximate="tanh") * self.value(x))
