"""Finite scalar quantization on a symmetric grid, trained on a mix of noise and rounding.

Parker et al., "Scaling transformers for low-bitrate high-quality speech coding" (arXiv 2411.19842, section 3.2).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from narrows.codecs.bottlenecks.scalar import ScalarGroups
from narrows.codecs.checks import check_share
from narrows.parts import part


@part("dithered-fsq")
class DitheredFSQ(ScalarGroups):
    """FSQ whose L levels lie evenly from -1 to 1, both included, so that grids of 2^n + 1 levels hold one another.

    Each item of a training batch goes on, by chance, in one of three ways: with uniform noise one step wide in the
    place of rounding (probability `noise`); as it is ((1 - noise)·noise); rounded with a straight-through gradient
    (the rest). In eval everything is rounded.

    dim, groups, dropout: as of FSQ. levels: 2 to 4096 each.
    """

    def __init__(
        self,
        dim: int = 64,
        levels: Sequence[int] = (17, 17, 17, 17, 17, 17),
        groups: int = 1,
        dropout: float = 0.0,
        noise: float = 0.5,
    ) -> None:
        super().__init__(dim, levels, groups, dropout)
        check_share(noise=noise)
        self.noise = noise
        count = torch.tensor(self.levels, dtype=torch.float64)
        half, offset = (count - 1) / 2, torch.where(count % 2 == 0, 0.5, 0.0)
        self._place(half, torch.zeros_like(half), offset, offset, half)

    def _trained_on(self, values: Tensor, bounded: Tensor) -> Tensor:
        chance = torch.rand(2, len(values), *(1,) * (values.ndim - 1), device=values.device) < self.noise
        values = torch.where(chance[0], self._values(bounded), values)
        dithered = self._values(bounded + torch.rand_like(bounded) - 0.5)
        return torch.where(chance[1], dithered, values)
