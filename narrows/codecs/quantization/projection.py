"""Linear projections between latents and the vectors that are quantized.

They compute in float32 even under autocast, because rounding to a shorter type would change codes.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.parts import part


def to_vectors(z: Tensor, layer: nn.Module) -> Tensor:
    """Project latents (B, D, *grid) to float32 vectors (B, *grid, d) with an nn.Linear or nn.Identity."""
    return _linear(z.movedim(1, -1), layer)


def to_latents(vectors: Tensor, layer: nn.Module, dtype: torch.dtype) -> Tensor:
    """Project vectors (B, *grid, d) to latents (B, D, *grid) of `dtype`."""
    return _linear(vectors, layer).movedim(-1, 1).to(dtype)


def _linear(x: Tensor, layer: nn.Module) -> Tensor:
    if not isinstance(layer, nn.Linear):
        out: Tensor = layer(x.float())
        return out
    with torch.autocast(x.device.type, enabled=False):
        return nn.functional.linear(x.float().contiguous(), layer.weight.float(), layer.bias.float())


@part("projection")
class Projection(nn.Module):
    """Latents (B, D, *grid) ⇄ vectors (B, *grid, d) float32: two linear maps, or none if D = d.

    Args:
        dim: number of latent channels D.
        inner: length of the vectors d.
    """

    kind: ClassVar[str] = "projection"

    def __init__(self, dim: int = 64, inner: int = 8) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, dim=dim, inner=inner)
        self.dim, self.inner = dim, inner
        self.down_map = nn.Linear(dim, inner) if dim != inner else nn.Identity()
        self.up_map = nn.Linear(inner, dim) if dim != inner else nn.Identity()

    def down(self, z: Tensor) -> Tensor:
        """Project latents (B, D, *grid) to vectors (B, *grid, d)."""
        return to_vectors(z, self.down_map)

    def up(self, vectors: Tensor) -> Tensor:
        """Project vectors (B, *grid, d) to latents (B, D, *grid) float32."""
        return to_latents(vectors, self.up_map, torch.float32)


@part("random-projection")
class RandomProjection(Projection):
    """A fixed random matrix in place of a learned map; back, its transpose, scaled so that D → d → D is near identity.

    Args:
        dim: number of latent channels D.
        inner: length of the vectors d.
    """

    matrix: Tensor

    def __init__(self, dim: int = 64, inner: int = 8) -> None:
        super().__init__(dim, dim)  # without linear maps
        check_integers(1, MAX_SIZE, inner=inner)
        self.inner = inner
        self.register_buffer("matrix", torch.randn(inner, dim) * dim**-0.5)

    def down(self, z: Tensor) -> Tensor:
        """Project latents (B, D, *grid) to vectors (B, *grid, d)."""
        with torch.autocast(z.device.type, enabled=False):
            return nn.functional.linear(super().down(z), self.matrix)

    def up(self, vectors: Tensor) -> Tensor:
        """Project vectors (B, *grid, d) to latents (B, D, *grid) float32."""
        with torch.autocast(vectors.device.type, enabled=False):
            return super().up(nn.functional.linear(vectors.float(), self.matrix.T * (self.dim / self.inner)))
