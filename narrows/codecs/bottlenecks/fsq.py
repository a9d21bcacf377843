"""Finite scalar quantization (FSQ): scalars are rounded to a few levels, without a codebook to learn.

z (B, D, *grid) ── in ──▶ ┌ group 0: d bounded scalars, each rounded to L levels ┐
                          ├ group 1: ...                                         ├── out ──▶ latents (B, D, *grid)
                          └ group K-1                                            ┘

FSQ: Mentzer et al., arXiv 2309.15505. Dithered FSQ: Parker et al., arXiv 2411.19842. Residual FSQ: below.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from narrows.codecs.base import MAX_RADIX, Bottleneck, Quantized
from narrows.codecs.checks import MAX_SIZE, check_fraction, check_integer_lists, check_integers
from narrows.codecs.quantization.dropout import draw_kept
from narrows.codecs.quantization.mixed_radix import MixedRadix
from narrows.codecs.quantization.projection import to_latents, to_vectors
from narrows.codecs.quantization.usage import usage
from narrows.errors import InputError
from narrows.parts import part

EPSILON = 1e-3  # widens the range of the bounded scalars, so that with odd L it does not end on a rounding tie
MAX_EXTENSION = 0.25  # upper bound of that widening, in units of the distance of two levels
MAX_FINE_LEVELS = 2**22  # float32 still separates this number of levels safely


class ScalarGroups(Bottleneck):
    """Base class of FSQ and DitheredFSQ: K codebooks, each of `prod(levels)` codes for the levels of its group.

    A scalar s is bounded to tanh(s + shift)·scale - offset, where the levels are the integers around 0. Level n has
    the value (n + lift) / unit. See FSQ for the arguments.

    Attributes:
        levels: number of levels of each scalar, a tuple for each group.
    """

    scale: Tensor
    offset: Tensor
    shift: Tensor
    lift: Tensor
    unit: Tensor
    centre: Tensor
    group: Tensor

    def __init__(
        self,
        dim: int,
        levels: Sequence[int] | Sequence[Sequence[int]],
        groups: int | None,
        dropout: float,
        lowest: int = 2,
        gray: bool = False,
    ) -> None:
        super().__init__()
        self.levels = _levels_of_groups(levels, groups, lowest)
        check_integers(1, MAX_SIZE, dim=dim, groups=len(self.levels))
        check_fraction(dropout=dropout)
        radices = {each: MixedRadix(each, gray) for each in dict.fromkeys(self.levels)}
        self.mixed_radices = nn.ModuleList(radices.values())  # one for each kind of group
        self._kinds = [list(radices).index(each) for each in self.levels]
        self.dim, self.groups, self.dropout = dim, len(self.levels), dropout
        self.codebook_sizes = tuple(radices[each].size for each in self.levels)
        self.prefixes = tuple(range(1, self.groups + 1)) if dropout > 0 else (self.groups,)
        self.sizes = [len(each) for each in self.levels]  # scalars of each group
        count = torch.tensor([n for each in self.levels for n in each])
        self.project_in = nn.Linear(dim, len(count))
        self.project_out = nn.Linear(len(count), dim)
        self.register_buffer("centre", count // 2, persistent=False)
        self.register_buffer("group", torch.tensor([g for g, n in enumerate(self.sizes) for _ in range(n)]), False)

    def _set_levels(self, scale: Tensor, shift: Tensor, offset: Tensor, lift: Tensor, unit: Tensor) -> None:
        """Set the positions and values of the levels, (scalars,) each; called once by each subclass."""
        for name, value in {"scale": scale, "shift": shift, "offset": offset, "lift": lift, "unit": unit}.items():
            self.register_buffer(name, value.float(), persistent=False)

    @property
    def radices(self) -> tuple[tuple[int, ...], ...]:
        """Digits of a group's code: neighbouring levels are merged while their product fits a frequency table."""
        return tuple(self._radix(group).radices for group in range(self.groups))

    def forward(self, z: Tensor) -> Quantized:
        """Quantize latents (B, D, *grid); the gradient is straight-through."""
        bounded = self._bounded(z)  # (B, *grid, scalars)
        rounded = bounded.round()
        codes = self._codes(rounded)
        values = self._values(rounded) + (bounded - bounded.detach()) / self.unit  # exact: the second term is 0
        kept = draw_kept(z.shape[0], self.groups, self.dropout if self.training else 0.0, z.device)
        if self.training:
            values = self._training_values(values, bounded)
            mask = self.group < kept[:, None]  # (B, scalars)
            values = values * mask.view(z.shape[0], *(1,) * (z.ndim - 2), -1)
        bits = self._nominal_bits(kept, math.prod(z.shape[2:]))
        latents = to_latents(values, self.project_out, z.dtype)
        return Quantized(latents, codes, bits=bits, metrics=usage(codes, self.codebook_sizes))

    def encode(self, z: Tensor) -> Tensor:
        """Encode latents (B, D, *grid) to codes (B, K, *grid) int64."""
        return self._codes(self._bounded(z).round())

    def decode(self, codes: Tensor) -> Tensor:
        """Decode codes (B, k, *grid) of the first k groups to latents (B, D, *grid)."""
        codes = self._check_codes(codes)
        split = [self._radix(group).split(each) for group, each in enumerate(codes.unbind(1))]
        levels = torch.cat(split, -1)  # (B, *grid, scalars of the first k groups)
        values = self._values(levels - self.centre[: levels.shape[-1]])
        values = nn.functional.pad(values, (0, len(self.centre) - values.shape[-1]))
        return to_latents(values, self.project_out, torch.float32)

    def _training_values(self, values: Tensor, bounded: Tensor) -> Tensor:
        """Values for the decoder in training: `values` (B, *grid, scalars) of levels, or others made of `bounded`."""
        return values

    def _bounded(self, z: Tensor) -> Tensor:
        """Project latents (B, D, *grid) to float32 scalars (B, *grid, scalars) within the levels, before rounding."""
        self._check_latents(z)
        return torch.tanh(to_vectors(z, self.project_in) + self.shift) * self.scale - self.offset

    def _values(self, levels: Tensor) -> Tensor:
        """Convert levels of the first scalars, integers around 0, to values in [-1, 1]."""
        count = levels.shape[-1]
        return (levels.float() + self.lift[:count]) / self.unit[:count]

    def _codes(self, rounded: Tensor) -> Tensor:
        levels = (rounded.nan_to_num().long() + self.centre).split(self.sizes, -1)
        return torch.stack([self._radix(group).join(each) for group, each in enumerate(levels)], 1)

    def _radix(self, group: int) -> MixedRadix:
        radix = self.mixed_radices[self._kinds[group]]
        assert isinstance(radix, MixedRadix)
        return radix


def _levels_of_groups(levels: Any, groups: int | None, lowest: int) -> tuple[tuple[int, ...], ...]:
    """The levels of each group. Raises InputError for other than integers, and another number of groups."""
    if not isinstance(levels, list | tuple) or not any(isinstance(each, list | tuple) for each in levels):
        check_integer_lists(lowest, MAX_RADIX, levels=levels)
        check_integers(1, MAX_SIZE, groups=1 if groups is None else groups)
        return (tuple(levels),) * (1 if groups is None else groups)
    for each in levels:
        check_integer_lists(lowest, MAX_RADIX, levels=each)
    if groups not in (None, len(levels)):
        raise InputError(f"expected {len(levels)} groups, as there are lists of levels, got {groups!r}; leave it out")
    return tuple(map(tuple, levels))


@part("fsq")
class FSQ(ScalarGroups):
    """Finite scalar quantization (Mentzer et al., arXiv 2309.15505, section 3.1), one codebook per group of scalars.

    Args:
        dim: D of the latents on both sides.
        levels: levels of each scalar of a group, 3 to 4096; the first is the least significant digit of a code. If the
            number of levels is even, one level is 0, and there is one more level below 0 than above. A list of such
            lists has the levels of each group.
        groups: number of codebooks K; None: 1, or as many as `levels` has lists.
        dropout: probability, per item and in training only, that only a random prefix of the groups is kept; dropped
            groups contribute zeros. Above 0 every prefix of the groups can be decoded, at 0 only all of them.
        gray: Gray-coded codes: if the levels are powers of two, codes of neighbouring levels differ in one bit.
            mixed_radix.py states what this guarantees on noisy channels.
    """

    def __init__(
        self,
        dim: int = 64,
        levels: Sequence[int] | Sequence[Sequence[int]] = (8, 5, 5, 5),
        groups: int | None = None,
        dropout: float = 0.0,
        gray: bool = False,
    ) -> None:
        super().__init__(dim, levels, groups, dropout, lowest=3, gray=gray)
        count = torch.tensor([n for each in self.levels for n in each], dtype=torch.float64)
        scale = (count - 1) / 2 + ((count - 1) / 2 * EPSILON).clamp(max=MAX_EXTENSION)
        offset = torch.where(count % 2 == 0, 0.5, 0.0)
        self._set_levels(scale, torch.atanh(offset / scale), offset, torch.zeros_like(scale), self.centre)


@part("twice-bounded-fsq")
class TwiceBoundedFSQ(FSQ):
    """FSQ of X-Codec 2 and NeuCodec: bounded scalars are bounded again before they are rounded.

    ResidualFSQ of vector-quantize-pytorch did this up to its version 1.17, with which these codecs were trained.

    Args:
        dim, levels, groups, dropout, gray: as of FSQ.
    """

    def __init__(
        self,
        dim: int = 2048,
        levels: Sequence[int] | Sequence[Sequence[int]] = (4,) * 8,
        groups: int | None = None,
        dropout: float = 0.0,
        gray: bool = False,
    ) -> None:
        super().__init__(dim, levels, groups, dropout, gray)

    def _bounded(self, z: Tensor) -> Tensor:
        return torch.tanh(super()._bounded(z) + self.shift) * self.scale - self.offset


@part("plain-fsq")
class PlainFSQ(ScalarGroups):
    """FSQ of the latents themselves, without linear maps: each channel is a scalar, tanh(z) · scale · (L - 1) / 2.

    Args:
        levels: levels of each channel, odd numbers; the first is the least significant digit of a code.
        scale: of the range, just below 1 so that it does not end on a rounding tie (S3 tokenizer: 0.999).
    """

    def __init__(self, levels: Sequence[int] = (3,) * 8, scale: float = 1 - EPSILON) -> None:
        check_fraction(scale=scale)
        super().__init__(len(levels) if isinstance(levels, list | tuple) else 0, levels, None, 0.0, lowest=3)
        count = torch.tensor(self.levels[0], dtype=torch.float64)
        if len(self.levels) > 1 or any(number % 2 == 0 for number in self.levels[0]):
            raise InputError(f"expected a list of odd numbers as levels, got {levels!r}")
        self.project_in, self.project_out = nn.Identity(), nn.Identity()  # type: ignore[assignment]
        zero = torch.zeros_like(count)
        self._set_levels((count - 1) / 2 * scale, zero, zero, zero, (count - 1) / 2)


@part("dithered-fsq")
class DitheredFSQ(ScalarGroups):
    """FSQ on a symmetric grid, trained on a mix of noise and rounding (Parker et al., arXiv 2411.19842, section 3.2).

    The L levels are spaced evenly from -1 to 1, both included, so that the grids of 2^n + 1 levels are nested. In
    training each item gets, at random, uniform noise of one step's width instead of rounding (probability `noise`), its
    unrounded values ((1 - noise)·noise), or rounding with a straight-through gradient (the rest). In eval mode
    everything is rounded.

    Args:
        dim: D of the latents on both sides.
        levels, groups, dropout: as in FSQ, with 2 to 4096 levels.
        noise: probability of noise, 0 to 1.
    """

    def __init__(
        self,
        dim: int = 64,
        levels: Sequence[int] | Sequence[Sequence[int]] = (17, 17, 17, 17, 17, 17),
        groups: int | None = None,
        dropout: float = 0.0,
        noise: float = 0.5,
    ) -> None:
        super().__init__(dim, levels, groups, dropout)
        check_fraction(noise=noise)
        self.noise = noise
        count = torch.tensor([n for each in self.levels for n in each], dtype=torch.float64)
        half, offset = (count - 1) / 2, torch.where(count % 2 == 0, 0.5, 0.0)
        self._set_levels(half, torch.zeros_like(half), offset, offset, half)

    def _training_values(self, values: Tensor, bounded: Tensor) -> Tensor:
        chance = torch.rand(2, len(values), *(1,) * (values.ndim - 1), device=values.device) < self.noise
        values = torch.where(chance[0], self._values(bounded), values)
        dithered = self._values(bounded + torch.rand_like(bounded) - 0.5)
        return torch.where(chance[1], dithered, values)


@part("residual-fsq")
class ResidualFSQ(Bottleneck):
    """Residual FSQ: each stage divides the cell chosen by the stage before into L cells.

        L = 3   stage 0:  |        0        |        1        |        2        |
                stage 1:  |  0  |  1  |  2  |  0  |  1  |  2  |  0  |  1  |  2  |

    All cells of a stage have the same size, so the levels of the stages are the digits of one fine level in base L, the
    most significant first. A prefix of the stages decodes to the middle of its cell. K = `stages` codebooks of
    `prod(levels)` codes each, for the same d scalars.

    Args:
        dim: D of the latents on both sides.
        levels: number of cells into which a stage divides each scalar's range, 2 to 4096; L^stages is at most 2^22.
        stages: number of codebooks K.
        dropout: probability, per item and in training only, that only a random prefix of the stages is kept. Above 0
            every prefix of the stages can be decoded, at 0 only all of them.
    """

    fine: Tensor
    count: Tensor
    unit: Tensor
    weights: Tensor
    sizes: Tensor

    def __init__(
        self, dim: int = 64, levels: Sequence[int] = (5, 5, 5, 5), stages: int = 4, dropout: float = 0.5
    ) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, dim=dim, stages=stages)
        check_integer_lists(2, MAX_RADIX, levels=levels)
        check_fraction(dropout=dropout)
        self.mixed_radix = MixedRadix(levels)
        if stages > 22 or max(levels) ** stages > MAX_FINE_LEVELS:
            raise InputError(
                f"expected levels ** stages of at most 2^22, got {stages} stages of levels {tuple(levels)}; use fewer"
            )
        self.dim, self.stages, self.dropout = dim, stages, dropout
        self.codebook_sizes = (self.mixed_radix.size,) * stages
        self.prefixes = tuple(range(1, stages + 1)) if dropout > 0 else (stages,)
        self.project_in = nn.Linear(dim, len(levels))
        self.project_out = nn.Linear(len(levels), dim)
        count = torch.tensor(self.mixed_radix.levels)
        place = torch.arange(stages).view(-1, 1)
        self.register_buffer("count", count, persistent=False)
        self.register_buffer("unit", count / (count - 1), persistent=False)  # the middles of the outer cells are ±1
        self.register_buffer("fine", (count**stages).float(), persistent=False)
        self.register_buffer("weights", count ** (stages - 1 - place), persistent=False)  # (K, d)
        self.register_buffer("sizes", 1 / (count**place).float(), persistent=False)  # cell sizes relative to stage 0

    @property
    def radices(self) -> tuple[tuple[int, ...], ...]:
        """Digits of a stage's code: neighbouring levels are merged while their product fits a frequency table."""
        return (self.mixed_radix.radices,) * self.stages

    def forward(self, z: Tensor) -> Quantized:
        """Quantize latents (B, D, *grid); the gradient is straight-through."""
        bounded = self._bounded(z)
        levels = self._levels(bounded)  # (B, *grid, K, d)
        kept = draw_kept(z.shape[0], self.stages, self.dropout if self.training else 0.0, z.device)
        mask = torch.arange(self.stages, device=z.device) < kept[:, None]  # (B, K)
        values = self._values(levels, mask.view(z.shape[0], *(1,) * (z.ndim - 2), self.stages, 1))
        codes = self.mixed_radix.join(levels).movedim(-1, 1)
        latents = to_latents(values + (bounded - bounded.detach()), self.project_out, z.dtype)  # exact: the second is 0
        bits = self._nominal_bits(kept, math.prod(z.shape[2:]))
        return Quantized(latents, codes, bits=bits, metrics=usage(codes, self.codebook_sizes))

    def encode(self, z: Tensor) -> Tensor:
        """Encode latents (B, D, *grid) to codes (B, K, *grid) int64."""
        return self.mixed_radix.join(self._levels(self._bounded(z))).movedim(-1, 1)

    def decode(self, codes: Tensor) -> Tensor:
        """Decode codes (B, k, *grid) of the first k stages to latents (B, D, *grid)."""
        codes = self._check_codes(codes)
        codes, stages = codes.movedim(1, -1), codes.shape[1]
        levels = self.mixed_radix.split(nn.functional.pad(codes, (0, self.stages - stages)))
        mask = (torch.arange(self.stages, device=codes.device) < stages).unsqueeze(-1)
        return to_latents(self._values(levels, mask), self.project_out, torch.float32)

    def _bounded(self, z: Tensor) -> Tensor:
        """Project latents (B, D, *grid) to float32 scalars (B, *grid, d) in the range of all cells."""
        self._check_latents(z)
        return torch.tanh(to_vectors(z, self.project_in) / self.unit) * self.unit

    def _levels(self, bounded: Tensor) -> Tensor:
        """Convert scalars (B, *grid, d) to the levels of the stages (B, *grid, K, d)."""
        fine = ((bounded / self.unit + 1) * 0.5 * self.fine).floor().clamp(min=0)
        fine = torch.minimum(fine, self.fine - 1).long()
        return fine.unsqueeze(-2) // self.weights % self.count

    def _values(self, levels: Tensor, mask: Tensor) -> Tensor:
        """Convert levels (B, *grid, K, d) of the stages in the mask to the middles of their cells (B, *grid, d)."""
        middles = (2 * levels + 1 - self.count) / (self.count - 1)  # from -1 to 1 in stage 0
        return (middles * self.sizes * mask).sum(-2)
