"""Finite scalar quantization (Mentzer et al., arXiv 2309.15505), several small codebooks side by side.

z (B, D, *grid) ── in ──▶ ┌ group 0: d bounded scalars, each rounded to L levels ┐
                          ├ group 1: ...                                         ├── out ──▶ latents (B, D, *grid)
                          └ group K-1                                            ┘
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from narrows.codecs.bottlenecks.base import LARGEST_DIGIT, Bottleneck, Quantized
from narrows.codecs.checks import MOST, check_share, check_whole
from narrows.errors import InputError
from narrows.parts import part

EPSILON = 1e-3  # keeps the bounded range of an odd number of levels from ending on a rounding tie
FARTHEST = 0.25  # beyond the last level at most, of 1 from level to level, however many levels there are


@part("fsq")
class FSQ(Bottleneck):
    """K = `groups` codebooks of `prod(levels)` codes each, without any codebook to learn.

    dim:     D of the latents on both sides.
    levels:  levels of each scalar of a group, 3 to 4096; the first is the fastest digit of a code.
    groups:  K.
    dropout: probability, per item and in training only, that only a random prefix of the groups is kept. A dropped
             group contributes zeros. Above 0, every prefix of the groups can be decoded; at 0, only all of them.
    """

    scale: Tensor
    offset: Tensor
    shift: Tensor
    centre: Tensor
    base: Tensor
    count: Tensor

    def __init__(
        self, dim: int = 64, levels: Sequence[int] = (8, 5, 5, 5), groups: int = 1, dropout: float = 0.0
    ) -> None:
        super().__init__()
        check_whole(1, MOST, dim=dim, groups=groups)
        check_whole(3, LARGEST_DIGIT, levels=tuple(levels))
        check_share(dropout=dropout)
        if not 1 <= math.prod(levels) <= 2**62 or not levels:
            raise InputError(f"levels {tuple(levels)} make {math.prod(levels)} codes, 3 to 2^62 wanted")
        self.dim, self.levels, self.groups, self.dropout = dim, tuple(levels), groups, dropout
        self.codebook_sizes = (math.prod(levels),) * groups
        self.prefixes = tuple(range(1, groups + 1)) if dropout > 0 else (groups,)
        scalars = groups * len(levels)
        self.project_in = nn.Linear(dim, scalars)
        self.project_out = nn.Linear(scalars, dim)
        count = torch.tensor(self.levels, dtype=torch.float64)
        scale = (count - 1) / 2 + ((count - 1) / 2 * EPSILON).clamp(max=FARTHEST)
        offset = torch.where(count % 2 == 0, 0.5, 0.0)
        self.register_buffer("scale", scale.float(), persistent=False)
        self.register_buffer("offset", offset.float(), persistent=False)
        self.register_buffer("shift", torch.atanh(offset / scale).float(), persistent=False)
        base = [math.prod(self.levels[:i]) for i in range(len(self.levels))]
        self.register_buffer("centre", torch.tensor([n // 2 for n in self.levels]), persistent=False)
        self.register_buffer("base", torch.tensor(base), persistent=False)
        self.register_buffer("count", torch.tensor(self.levels), persistent=False)

    @property
    def radices(self) -> tuple[tuple[int, ...], ...]:
        """Neighbouring levels share a digit as long as it stays within a table's size."""
        digits = [1]
        for levels in self.levels:
            if digits[-1] > 1 and digits[-1] * levels > LARGEST_DIGIT:
                digits.append(1)
            digits[-1] *= levels
        return (tuple(digits),) * self.groups

    def forward(self, z: Tensor) -> Quantized:
        """Latents (B, D, *grid) to Quantized; the gradient passes the rounding unchanged (straight-through)."""
        bounded = self._bounded(z)  # (B, *grid, K, d)
        rounded = bounded.round()
        codes = self._index(rounded)
        values = self._normalized(rounded) + self._normalized(bounded - bounded.detach())  # exact: the second term is 0
        books = torch.full((len(z),), self.groups, device=z.device)
        if self.training and self.dropout > 0:
            short = torch.rand(len(z), device=z.device) < self.dropout
            books = torch.where(short, torch.randint(1, self.groups + 1, (len(z),), device=z.device), books)
            kept = torch.arange(self.groups, device=z.device) < books[:, None]  # (B, K)
            values = values * kept.view(len(z), *(1,) * (z.ndim - 2), self.groups, 1)
        return Quantized(self._latents(values, z.dtype), codes, bits=self._nominal_bits(books, z[0, 0].numel()))

    def encode(self, z: Tensor) -> Tensor:
        """Latents (B, D, *grid) to codes (B, K, *grid) int64."""
        return self._index(self._bounded(z).round())

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, k, *grid), the first k groups, to latents (B, D, *grid)."""
        self._check_codes(codes)
        digits = codes.movedim(1, -1).unsqueeze(-1) // self.base % self.count
        values = self._normalized(digits - self.centre)  # (B, *grid, k, d)
        missing = self.groups - codes.shape[1]
        return self._latents(nn.functional.pad(values, (0, 0, 0, missing)), self.project_out.weight.dtype)

    def _bounded(self, z: Tensor) -> Tensor:
        """Latents (B, D, *grid) to float32 scalars (B, *grid, K, d) within the levels, before rounding."""
        self._check_latents(z)
        with torch.autocast(z.device.type, enabled=False):
            weight, bias = self.project_in.weight.float(), self.project_in.bias.float()
            scalars = nn.functional.linear(z.float().movedim(1, -1), weight, bias).unflatten(-1, (self.groups, -1))
            return torch.tanh(scalars + self.shift) * self.scale - self.offset

    def _normalized(self, levels: Tensor) -> Tensor:
        """Integers around 0 to values in [-1, 1]."""
        return levels.float() / self.centre

    def _index(self, rounded: Tensor) -> Tensor:
        return ((rounded.long() + self.centre) * self.base).sum(-1).movedim(-1, 1)

    def _latents(self, values: Tensor, dtype: torch.dtype) -> Tensor:
        with torch.autocast(values.device.type, enabled=False):
            weight, bias = self.project_out.weight.float(), self.project_out.bias.float()
            latents = nn.functional.linear(values.flatten(-2).contiguous(), weight, bias)
        return latents.movedim(-1, 1).to(dtype)
