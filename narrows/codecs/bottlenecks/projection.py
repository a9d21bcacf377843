"""Linear layers at both ends of a bottleneck, in float32 whatever autocast says: codes must not depend on its mood."""

import torch
from torch import Tensor, nn


def narrowed(z: Tensor, layer: nn.Linear) -> Tensor:
    """Latents (B, D, *grid) to float32 vectors (B, *grid, S), channels last."""
    with torch.autocast(z.device.type, enabled=False):
        return nn.functional.linear(z.float().movedim(1, -1), layer.weight.float(), layer.bias.float())


def widened(values: Tensor, layer: nn.Linear, dtype: torch.dtype) -> Tensor:
    """Float32 vectors (B, *grid, S), channels last, to latents (B, D, *grid) of `dtype`."""
    with torch.autocast(values.device.type, enabled=False):
        latents = nn.functional.linear(values.contiguous(), layer.weight.float(), layer.bias.float())
    return latents.movedim(-1, 1).to(dtype)
