"""FSQ of the channels of the latents themselves, in groups, with the bounds that NVIDIA's NeMo has (NanoCodec)."""

from collections.abc import Sequence

import torch
from torch import nn

from narrows.codecs.bottlenecks.fsq import EPSILON, ScalarGroups
from narrows.codecs.checks import MAX_SIZE, check_integer_lists, check_integers
from narrows.parts import part


@part("channel-fsq")
class ChannelFSQ(ScalarGroups):
    """Each channel is a scalar, each group of neighbouring channels a codebook.

    A channel z is rounded from tanh(z + shift) · scale - offset, with scale = (L - 1) / 2 · 0.999, and for even L
    offset = 1/2 and shift = tan(offset / scale). FSQ widens the range instead, and takes the inverse of tanh as shift.

    Args:
        levels: levels of each channel of a group, 3 to 4096; the first is the least significant digit of a code.
        groups: number of codebooks K; D is K times the number of channels of a group.
    """

    def __init__(self, levels: Sequence[int] = (9, 8, 8, 7), groups: int = 4) -> None:
        check_integer_lists(3, MAX_SIZE, levels=levels)
        check_integers(1, MAX_SIZE, groups=groups)
        super().__init__(len(levels) * groups, levels, groups, 0.0, lowest=3)
        self.project_in, self.project_out = nn.Identity(), nn.Identity()  # type: ignore[assignment]
        count = torch.tensor(list(levels) * groups, dtype=torch.float64)
        scale = (count - 1) / 2 * (1 - EPSILON)
        offset = torch.where(count % 2 == 0, 0.5, 0.0)
        self._set_levels(scale, torch.tan(offset / scale), offset, torch.zeros_like(scale), self.centre)
