"""Projection by attention over all positions (Ma et al., UniTok, arXiv 2502.20321, section 3.3).

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

    Args:
        dim: number of latent channels D.
        inner: length of the vectors d.
        heads: number of attention heads, a divisor of D and d.
    """

    kind: ClassVar[str] = "projection"
    global_context = True

    def __init__(self, dim: int = 64, inner: int = 64, heads: int = 8) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, dim=dim, inner=inner, heads=heads)
        if dim % heads or inner % heads:
            raise InputError(f"expected heads to divide dim={dim} and inner={inner}, got {heads}")
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
        self.heads = heads
        self.norm, self.norm_attention, self.norm_gated = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(out)
        self.direct = nn.Linear(width, out)
        self.attend = nn.Linear(width, 3 * out)
        self.merge = nn.Linear(out, out)
        self.gate, self.shrink = nn.Linear(out, 4 * out), nn.Linear(2 * out, out)

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.direct.weight.dtype)  # float32, unless the whole module was cast
        query, key, value = self.attend(self.norm_attention(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = nn.functional.scaled_dot_product_attention(query, key, value)  # (B, heads, N, out / heads)
        y = self.direct(self.norm(x)) + self.merge(attended.transpose(1, 2).flatten(2))
        value, gate = self.gate(self.norm_gated(y)).chunk(2, -1)
        return (y + self.shrink(value * nn.functional.gelu(gate))).float()
