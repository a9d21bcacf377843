"""An entropy model of groups: each group of latents is coded in the light of all groups before it.

    y × gain ─▶ channels 0 .. 15 at every second row and column ─▶ ... at the three other phases of the grid ─▶
             ─▶ the next channels everywhere ─▶ ... ─▶ the last channels

    a group:  all that is known around a position ─ 3 × 3 ─ 1 × 1 ─ 1 × 1 ─▶ mean, scale

Groups of channels: Minnen and Singh, arXiv 2007.08739; uneven ones, and phases of the grid: He et al., arXiv
2203.10886; gains, by which one model serves many qualities: Cui et al., arXiv 2003.02012. There is no side information:
where latents begin as the components of a linear transform, the first channels say what it would.
"""

from collections.abc import Sequence
from math import log2

import torch
from torch import Tensor, nn

from narrows.codecs.bottlenecks.base import LARGEST_DIGIT, Quantized
from narrows.codecs.bottlenecks.entropy_model import (
    HIGHEST,
    LEVELS,
    LOWEST,
    EntropyModel,
    Soften,
    Stage,
    Stages,
    noisy_and_rounded,
    normal_bits,
    scale_table_sizes,
    scales,
)
from narrows.codecs.checks import MOST, check_several, check_whole
from narrows.codecs.layers.density import at_least
from narrows.codecs.layers.exact import ExactConv2d, compressed, snap
from narrows.parts import part

ANCHORS = 8  # qualities with gains of their own
BETWEEN = 8  # steps from one to the next; gains are interpolated
PHASES = ((0, 0), (1, 1), (0, 1), (1, 0))  # rows and columns that start a phase of the grid, in the order of coding


class Predictor(nn.Module):
    """What is known around each position (B, known, h, w), and the quality, to means and scales (B, 2 size, h, w)."""

    def __init__(self, known: int, width: int, size: int) -> None:
        super().__init__()
        self.around = ExactConv2d(known, width, 3) if known else None
        self.quality = nn.Parameter(0.1 * torch.randn(ANCHORS, width))
        self.hidden = ExactConv2d(width, width)
        self.out = ExactConv2d(width, 2 * size)
        assert self.out.bias is not None
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, known: Sequence[Tensor], quality: Tensor, shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the scale, both (B, size, h, w) for `shape` (B, h, w)."""
        inside = at(self.quality, quality).to(torch.float32 if self.training else torch.float64)
        if self.around is None:
            inside = inside.expand(-1, -1, *shape[1:])
        else:
            inside = inside + self.around(compressed(torch.cat(tuple(known), 1)))
        inside = nn.functional.relu(self.hidden(nn.functional.relu(inside)))
        mean, log = self.out(inside).chunk(2, 1)
        return mean, log


@part("context-groups")
class ContextGroups(EntropyModel):
    """Latents (B, sum(groups), h, w), h and w even, at one of 57 qualities.

    groups: channels that are coded together, in this order; the first group in four phases. width: channels of the
    networks that choose tables.
    """

    multiple = 2
    qualities = (ANCHORS - 1) * BETWEEN + 1
    spread: Tensor

    def __init__(self, groups: Sequence[int] = (16, 16, 32, 64, 192), width: int = 128) -> None:
        super().__init__()
        check_several(1, MOST, groups=groups)
        check_whole(1, MOST, width=width)
        self.groups, self.dim = tuple(groups), sum(groups)
        self.codebook_sizes, self.prefixes = (LARGEST_DIGIT,) * self.dim, (self.dim,)
        first = groups[0]
        phases = [Predictor(first * index, width, first) for index in range(len(PHASES))]
        later = [Predictor(sum(groups[:index]), width, groups[index]) for index in range(1, len(groups))]
        self.predictors = nn.ModuleList(phases + later)
        self.root_gain = nn.Parameter(torch.ones(ANCHORS, self.dim))
        self.inverse = nn.Parameter(torch.ones(ANCHORS, self.dim))
        self.log_scale = nn.Parameter(torch.zeros(ANCHORS, self.dim))  # to base 2, of a symbol
        self.register_buffer("spread", torch.ones(self.dim))  # deviation of the latents

    @property
    def table_sizes(self) -> tuple[int, ...]:
        """Tables of the scales."""
        return scale_table_sizes()

    def learn(self, parts: Sequence[Tensor], quality: Tensor, soften: Soften = noisy_and_rounded) -> Quantized:
        """Group by group."""
        known = list[Tensor]()
        bits = torch.zeros(len(quality), device=quality.device)
        for index, target in enumerate(parts):
            mean, log = self._predict(index, known, quality, _shape(target))
            counted, error = soften(target - mean)
            scale = at_least(torch.exp2(log.clamp(max=log2(HIGHEST) + 2)), LOWEST)
            bits = bits + normal_bits(counted, scale).flatten(1).sum(1)
            known = _with(known, mean + error, index)
        return Quantized(torch.cat(known, 1) * at(self.inverse, quality).to(known[0].dtype), bits=bits)

    def stages(self, shape: tuple[int, int, int], quality: int) -> Stages:
        """The phases of the first group, then the other groups."""
        batch, height, width = shape
        share = torch.full((batch,), float(quality), device=self.spread.device)
        known: list[Tensor] = []
        for index in range(len(self.predictors)):
            halves = 2 if index < len(PHASES) else 1
            mean, log = self._predict(index, known, share, (batch, height // halves, width // halves))
            mean = snap(mean)
            symbols = yield Stage(mean, self._level(log), self._place(index))
            known = _with(known, mean + symbols, index)
        return (torch.cat(known, 1) * at(self.inverse, share)).float()

    def targets(self, y: Tensor, quality: Tensor) -> list[Tensor]:
        """The groups of y in symbols, the first one phase by phase."""
        return self.unfold(y.float() * at(self.root_gain, quality).square().float())

    def fold(self, parts: Sequence[Tensor]) -> Tensor:
        """Puts the phases of the first group together, and the groups."""
        return torch.cat((_interleaved(parts[: len(PHASES)]), *parts[len(PHASES) :]), 1)

    def unfold(self, x: Tensor) -> list[Tensor]:
        """The inverse of `fold`."""
        first, *others = x.split(self.groups, 1)
        return [*(first[:, :, i::2, j::2] for i, j in PHASES), *others]

    def bits_of(self, symbols: Tensor, stage: Stage, index: int) -> Tensor:
        """By normal densities of the tables' scales."""
        scale = torch.from_numpy(scales()).float().to(symbols.device)[stage.tables]
        return normal_bits(symbols, scale).flatten(1).sum(1)

    def _predict(
        self, index: int, known: Sequence[Tensor], quality: Tensor, shape: tuple[int, int, int]
    ) -> tuple[Tensor, Tensor]:
        """Mean, in symbols, and logarithm of the scale to base 2."""
        mean, log = self.predictors[index](known, quality, shape)
        _, part, *_ = self._place(index)
        deviation = self.spread[part].view(1, -1, 1, 1) * at(self.root_gain, quality)[:, part].square().detach()
        return mean * deviation.to(mean.dtype), log + at(self.log_scale, quality)[:, part].to(log.dtype)

    def _place(self, index: int) -> tuple[slice, slice, slice, slice]:
        """Which codes (B, K, h, w) a stage covers."""
        everything = slice(None)
        if index < len(PHASES):
            row, column = PHASES[index]
            return everything, slice(0, self.groups[0]), slice(row, None, 2), slice(column, None, 2)
        start = sum(self.groups[: index - len(PHASES) + 1])
        return everything, slice(start, start + self.groups[index - len(PHASES) + 1]), everything, everything

    def _level(self, log: Tensor) -> Tensor:
        """Indices of tables, whose scales are evenly spaced in the logarithm."""
        lowest, steps = log2(LOWEST), (LEVELS - 1) / log2(HIGHEST / LOWEST)
        return ((log - lowest) * steps).round().clamp(0, LEVELS - 1).long()


def at(table: Tensor, quality: Tensor) -> Tensor:
    """Rows of a table (8, C) at qualities (B,), interpolated, to (B, C, 1, 1) float64."""
    place = quality.double() / BETWEEN
    low = place.floor().clamp(0, ANCHORS - 2).long()
    share = (place - low).unsqueeze(1)
    rows = table.double()[low] * (1 - share) + table.double()[low + 1] * share
    return rows.unsqueeze(-1).unsqueeze(-1)


def _with(known: list[Tensor], values: Tensor, index: int) -> list[Tensor]:
    """What later stages know after stage `index`; once all phases of the first group are there, they become one."""
    known = [*known, values]
    return [_interleaved(known)] if index == len(PHASES) - 1 else known


def _interleaved(phases: Sequence[Tensor]) -> Tensor:
    """The four phases (B, c, h/2, w/2) of a group, in the order of PHASES, to the group (B, c, h, w)."""
    ordered = [phases[PHASES.index((i, j))] for i in (0, 1) for j in (0, 1)]
    return nn.functional.pixel_shuffle(torch.stack(ordered, 2).flatten(1, 2), 2)


def _shape(x: Tensor) -> tuple[int, int, int]:
    return len(x), x.shape[2], x.shape[3]
