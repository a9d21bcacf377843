"""Scalars that round to levels: what FSQ and its dithered relative share.

z (B, D, *grid) ── in ──▶ ┌ group 0: d bounded scalars, each rounded to L levels ┐
                          ├ group 1: ...                                         ├── out ──▶ latents (B, D, *grid)
                          └ group K-1                                            ┘

A scalar s lies at tanh(s + shift)·scale - offset, where the levels are the integers around 0; level n has the value
(n + lift) / unit.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from narrows.codecs.base import LARGEST_DIGIT, Bottleneck, Quantized
from narrows.codecs.checks import MOST, check_several, check_share, check_whole
from narrows.codecs.quantization.digits import Digits
from narrows.codecs.quantization.dropout import drawn
from narrows.codecs.quantization.projection import narrowed, widened
from narrows.codecs.quantization.usage import usage


class ScalarGroups(Bottleneck):
    """K = `groups` codebooks of `prod(levels)` codes each, without any codebook to learn. See FSQ for the arguments."""

    scale: Tensor
    offset: Tensor
    shift: Tensor
    lift: Tensor
    unit: Tensor
    centre: Tensor

    def __init__(
        self, dim: int, levels: Sequence[int], groups: int, dropout: float, lowest: int = 2, gray: bool = False
    ) -> None:
        super().__init__()
        check_whole(1, MOST, dim=dim, groups=groups)
        check_several(lowest, LARGEST_DIGIT, levels=levels)
        check_share(dropout=dropout)
        self.digits = Digits(levels, gray)
        self.dim, self.levels, self.groups, self.dropout = dim, self.digits.levels, groups, dropout
        self.codebook_sizes = (self.digits.size,) * groups
        self.prefixes = tuple(range(1, groups + 1)) if dropout > 0 else (groups,)
        scalars = groups * len(self.levels)
        self.project_in = nn.Linear(dim, scalars)
        self.project_out = nn.Linear(scalars, dim)
        self.register_buffer("centre", torch.tensor([n // 2 for n in self.levels]), persistent=False)

    def _place(self, scale: Tensor, shift: Tensor, offset: Tensor, lift: Tensor, unit: Tensor) -> None:
        """Where the levels lie and what they are worth, (d,) each; called once by each subclass."""
        for name, value in {"scale": scale, "shift": shift, "offset": offset, "lift": lift, "unit": unit}.items():
            self.register_buffer(name, value.float(), persistent=False)

    @property
    def radices(self) -> tuple[tuple[int, ...], ...]:
        """Neighbouring levels share a digit as long as it stays within a table's size."""
        return (self.digits.radices,) * self.groups

    def forward(self, z: Tensor) -> Quantized:
        """Latents (B, D, *grid) to Quantized; the gradient passes the rounding unchanged (straight-through)."""
        bounded = self._bounded(z)  # (B, *grid, K, d)
        rounded = bounded.round()
        codes = self._index(rounded)
        values = self._values(rounded) + (bounded - bounded.detach()) / self.unit  # exact: the second term is 0
        books = drawn(len(z), self.groups, self.dropout if self.training else 0.0, z.device)
        if self.training:
            values = self._trained_on(values, bounded)
            kept = torch.arange(self.groups, device=z.device) < books[:, None]  # (B, K)
            values = values * kept.view(len(z), *(1,) * (z.ndim - 2), self.groups, 1)
        bits = self._nominal_bits(books, math.prod(z.shape[2:]))
        latents = widened(values.flatten(-2), self.project_out, z.dtype)
        return Quantized(latents, codes, bits=bits, metrics=usage(codes, self.codebook_sizes))

    def encode(self, z: Tensor) -> Tensor:
        """Latents (B, D, *grid) to codes (B, K, *grid) int64."""
        return self._index(self._bounded(z).round())

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, k, *grid), the first k groups, to latents (B, D, *grid)."""
        codes = self._check_codes(codes)
        values = self._values((self.digits.split(codes.movedim(1, -1)) - self.centre).float())  # (B, *grid, k, d)
        values = nn.functional.pad(values, (0, 0, 0, self.groups - codes.shape[1]))
        return widened(values.flatten(-2), self.project_out, torch.float32)

    def _trained_on(self, values: Tensor, bounded: Tensor) -> Tensor:
        """What the decoder is trained on: the values (B, *grid, K, d) of the levels, or others made of `bounded`."""
        return values

    def _bounded(self, z: Tensor) -> Tensor:
        """Latents (B, D, *grid) to float32 scalars (B, *grid, K, d) within the levels, before rounding."""
        self._check_latents(z)
        scalars = narrowed(z, self.project_in).unflatten(-1, (self.groups, -1))
        return torch.tanh(scalars + self.shift) * self.scale - self.offset

    def _values(self, levels: Tensor) -> Tensor:
        """Numbers around 0, integers for levels, to values in [-1, 1]."""
        return (levels + self.lift) / self.unit

    def _index(self, rounded: Tensor) -> Tensor:
        return self.digits.join(rounded.long() + self.centre).movedim(-1, 1)
