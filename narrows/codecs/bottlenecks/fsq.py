"""Finite scalar quantization (Mentzer et al., arXiv 2309.15505), several small codebooks side by side."""

from collections.abc import Sequence

import torch

from narrows.codecs.bottlenecks.scalar import ScalarGroups
from narrows.parts import part

EPSILON = 1e-3  # keeps the bounded range of an odd number of levels from ending on a rounding tie
FARTHEST = 0.25  # beyond the last level at most, of 1 from level to level, however many levels there are


@part("fsq")
class FSQ(ScalarGroups):
    """K = `groups` codebooks of `prod(levels)` codes each, without any codebook to learn (section 3.1).

    dim:     D of the latents on both sides.
    levels:  levels of each scalar of a group, 3 to 4096; the first is the fastest digit of a code. One of an even
             number of levels is 0, so there is one more below 0 than above.
    groups:  K.
    dropout: probability, per item and in training only, that only a random prefix of the groups is kept. A dropped
             group contributes zeros. Above 0, every prefix of the groups can be decoded; at 0, only all of them.
    gray:    Gray-coded indices: where the levels are powers of two, codes of neighbouring levels differ in one bit.
             What it guarantees on noisy channels, and what not, is told in digits.py.
    """

    def __init__(
        self,
        dim: int = 64,
        levels: Sequence[int] = (8, 5, 5, 5),
        groups: int = 1,
        dropout: float = 0.0,
        gray: bool = False,
    ) -> None:
        super().__init__(dim, levels, groups, dropout, lowest=3, gray=gray)
        count = torch.tensor(self.levels, dtype=torch.float64)
        scale = (count - 1) / 2 + ((count - 1) / 2 * EPSILON).clamp(max=FARTHEST)
        offset = torch.where(count % 2 == 0, 0.5, 0.0)
        self._place(scale, torch.atanh(offset / scale), offset, torch.zeros_like(scale), self.centre)
