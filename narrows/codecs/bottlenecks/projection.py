"""Between the channels of the latents and the scalars that are quantized."""

import torch
from torch import Tensor, nn

from narrows.codecs.checks import MOST, check_whole
from narrows.parts import part


@part("projection")
class Projection(nn.Module):
    """Latents (B, D, *grid) ⇄ vectors (B, *grid, d) float32: two linear maps, or none where D = d.

    In float32 whatever autocast says, since rounding here would change codes.
    """

    def __init__(self, dim: int = 64, inner: int = 8) -> None:
        super().__init__()
        check_whole(1, MOST, dim=dim, inner=inner)
        self.dim, self.inner = dim, inner
        self.down_map = nn.Linear(dim, inner) if dim != inner else nn.Identity()
        self.up_map = nn.Linear(inner, dim) if dim != inner else nn.Identity()

    def down(self, z: Tensor) -> Tensor:
        """Latents (B, D, *grid) to vectors (B, *grid, d)."""
        return linear(self.down_map, z.movedim(1, -1))

    def up(self, vectors: Tensor) -> Tensor:
        """Vectors (B, *grid, d) to latents (B, D, *grid) float32."""
        return linear(self.up_map, vectors).movedim(-1, 1)


def linear(layer: nn.Module, x: Tensor) -> Tensor:
    """The layer, linear or none, in float32."""
    if not isinstance(layer, nn.Linear):
        return x.float()
    bias = None if layer.bias is None else layer.bias.float()
    with torch.autocast(x.device.type, enabled=False):
        return nn.functional.linear(x.float().contiguous(), layer.weight.float(), bias)
