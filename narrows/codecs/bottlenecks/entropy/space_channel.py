"""An entropy model of groups: each group of latents is coded in the light of all groups before it.

    y × gain ─▶ channels 0 .. 15 at every second row and column ─▶ ... at the three other phases of the grid ─▶
             ─▶ the next channels, phase by phase ─▶ ... ─▶ the last channels everywhere

    groups before, around a position ─ 3 × 3 ─┐
    phases of its own group before ─── 3 × 3 ─┴─ 1 × 1 ─ 1 × 1 ─ 1 × 1 ─▶ mean, scale

Groups of channels: Minnen and Singh, arXiv 2007.08739; uneven ones, and phases of the grid: He et al., arXiv
2203.10886; gains, by which one model serves many qualities: Cui et al., arXiv 2003.02012. There is no side information:
where latents begin as the components of a linear transform, the first channels say what it would.
"""

from collections.abc import Generator, Iterable, Sequence
from itertools import accumulate
from math import log2

import torch
from torch import Tensor, nn

from narrows.codecs.base import LARGEST_DIGIT, Quantized
from narrows.codecs.bottlenecks.entropy.base import (
    HIGHEST,
    LEVELS,
    LOWEST,
    EntropyModel,
    Stage,
    Stages,
    noisy,
    normal_bits,
    scale_of,
    scale_table_sizes,
    thrifty,
)
from narrows.codecs.checks import MOST, check_several, check_whole
from narrows.codecs.layers.density import at_least
from narrows.codecs.layers.exact import ExactConv2d, compressed, snap
from narrows.codecs.layers.qualities import ANCHORS, QUALITIES, at_quality
from narrows.errors import InputError
from narrows.parts import part

DEPTH = 2  # layers of a predictor between its view and its result
PRICE = 0.1  # of a bit, in squared rounding steps; at high rates it saves 2 ln 2 / 12 = 0.116
EVERYTHING = slice(None)
EVEN, ODD = slice(0, None, 2), slice(1, None, 2)
WHOLE = ((EVERYTHING, EVERYTHING),)
PHASES = ((EVEN, EVEN), (ODD, ODD), (EVEN, ODD), (ODD, EVEN))  # rows and columns, in the order of coding

Place = tuple[slice, slice, slice, slice]
Walk = Generator[tuple[Tensor, Tensor, Place], Tensor, Tensor]


class Predictor(nn.Module):
    """What is known around each position, and the quality, to means and scales of one phase of a group.

    inside: channels of the group's own phases that are known by then.
    """

    def __init__(self, inside: int, width: int, size: int) -> None:
        super().__init__()
        self.inside = ExactConv2d(2 * inside, width, 3) if inside else None
        self.quality = nn.Parameter(torch.empty(ANCHORS, width).normal_(std=0.1))
        self.hidden = nn.ModuleList(ExactConv2d(width, width) for _ in range(DEPTH))
        self.out = ExactConv2d(width, 2 * size)
        assert self.out.bias is not None
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, before: Tensor, inside: Sequence[Tensor], quality: Tensor) -> tuple[Tensor, Tensor]:
        """Means and logarithms of scales, both (B, size, h, w), of features before (B, width, h, w)."""
        x = before + at_quality(self.quality, quality).to(before.dtype)
        if self.inside is not None:
            x = x + self.inside(seen(inside))
        for layer in self.hidden:
            x = layer(nn.functional.relu(x))
        mean, scale = self.out(nn.functional.relu(x)).chunk(2, 1)
        return mean, scale


@part("context-groups")
class ContextGroups(EntropyModel):
    """Latents (B, sum(groups), h, w), h and w even, at one of 57 qualities.

    groups: channels that are coded together, in this order. phased: groups at the beginning whose four phases are coded
    one after another. widths: channels of the networks that choose the tables of each group.
    """

    multiple = 2
    qualities = QUALITIES
    spread: Tensor

    def __init__(
        self,
        groups: Sequence[int] = (16, 16, 32, 64, 192),
        phased: int = 4,
        widths: Sequence[int] = (128, 160, 192, 224, 256),
    ) -> None:
        super().__init__()
        check_several(1, MOST, groups=groups, widths=widths)
        check_whole(1, MOST, channels=sum(groups))
        check_whole(0, len(groups), phased=phased)
        if len(widths) != len(groups):
            raise InputError(f"{len(groups)} groups and {len(widths)} widths given; one width for each group wanted")
        self.groups, self.widths, self.dim = tuple(groups), tuple(widths), sum(groups)
        self.codebook_sizes, self.prefixes = (LARGEST_DIGIT,) * self.dim, (self.dim,)
        starts = [0, *accumulate(groups)][:-1]
        self._phases = [PHASES if index < phased else WHOLE for index in range(len(groups))]
        self._channels = [slice(start, start + size) for start, size in zip(starts, groups, strict=True)]
        # What a group sees of the groups before it is the same for all its phases.
        self.before = nn.ModuleList(
            ExactConv2d(2 * start, width, 3) for start, width in zip(starts[1:], widths[1:], strict=True)
        )
        self.predictors = nn.ModuleList(
            nn.ModuleList(Predictor(size * known, width, size) for known in range(len(phases)))
            for size, width, phases in zip(groups, widths, self._phases, strict=True)
        )
        self.root_gain = nn.Parameter(torch.ones(ANCHORS, self.dim))
        self.inverse = nn.Parameter(torch.ones(ANCHORS, self.dim))
        self.log_scale = nn.Parameter(torch.zeros(ANCHORS, self.dim))  # to base 2, of a symbol
        self.register_buffer("spread", torch.ones(self.dim))  # deviation of the latents

    @property
    def table_sizes(self) -> tuple[int, ...]:
        """Tables of the scales."""
        return scale_table_sizes()

    def learn(self, parts: Sequence[Tensor], quality: Tensor) -> Quantized:
        """Group by group, phase by phase; what follows a symbol sees it rounded thriftily."""
        walk, bits = self._groups(quality, self.fold(parts).shape), torch.zeros(len(quality), device=quality.device)
        mean, log_scale, _ = next(walk)
        try:
            for part in parts:
                error = part - mean
                scale = at_least(torch.exp2(log_scale.clamp(max=log2(HIGHEST) + 2)), LOWEST)
                symbols = _by_density(error.detach(), scale.detach())
                bits = bits + normal_bits(noisy(error), scale).flatten(1).sum(1)
                mean, log_scale, _ = walk.send(mean + error + (symbols - error).detach())
        except StopIteration as end:
            return Quantized(end.value.to(parts[0].dtype), bits=bits)
        raise AssertionError("a stage was not coded")

    def stages(self, shape: tuple[int, int, int], quality: int) -> Stages:
        """The groups, and the phases of each."""
        batch, height, width = shape
        share = torch.full((batch,), float(quality), device=self.spread.device)
        walk = self._groups(share, (batch, self.dim, height, width))
        try:
            mean, log_scale, place = next(walk)
            while True:
                mean = snap(mean)
                mean, log_scale, place = walk.send(mean + (yield Stage(mean, _table(log_scale), place)))
        except StopIteration as end:
            return end.value.float()

    def targets(self, y: Tensor, quality: Tensor) -> list[Tensor]:
        """The phases of each group of y, in symbols."""
        return self.unfold(y.float() * at_quality(self.root_gain, quality).square().float())

    def fold(self, parts: Sequence[Tensor]) -> Tensor:
        """Puts phases and groups together."""
        phases, groups = iter(parts), self._phases
        return torch.cat([_together([next(phases) for _ in group]) for group in groups], 1)

    def unfold(self, x: Tensor) -> list[Tensor]:
        """The inverse of `fold`."""
        return [
            x[:, channels, rows, columns]
            for channels, phases in zip(self._channels, self._phases, strict=True)
            for rows, columns in phases
        ]

    def bits_of(self, symbols: Tensor, stage: Stage, index: int) -> Tensor:
        """By normal densities of the tables' scales."""
        return normal_bits(symbols, scale_of(stage)).flatten(1).sum(1)

    def rounded(self, error: Tensor, stage: Stage, prices: Tensor | None = None) -> Tensor:
        """Symbols for errors: see `thrifty`. By normal densities of the tables' scales where there are no prices."""
        if prices is None:
            return _by_density(error.float(), scale_of(stage)).double()
        known, most = PRICE * prices.to(error.device), prices.shape[1] - 1
        return thrifty(error.float(), lambda away: known[stage.tables, away.clamp(max=most).long()]).double()

    def latents(self, values: Sequence[Tensor], quality: Tensor) -> Tensor:
        """Values, put together and brought to the encoder's scale."""
        folded = self.fold(values)
        return folded * at_quality(self.inverse, quality).to(folded.dtype)

    def _groups(self, quality: Tensor, shape: Sequence[int]) -> Walk:
        """Means, logarithms of scales to base 2, and where; is sent the values there, all in symbols; latents."""
        batch, _, height, width = shape
        dtype = torch.float32 if self.training else torch.float64
        gain = at_quality(self.root_gain, quality).square()
        deviation = (self.spread.view(1, -1, 1, 1) * gain).detach().to(dtype)
        level = at_quality(self.log_scale, quality).to(dtype)
        known = list[Tensor]()
        for index, (channels, phases) in enumerate(zip(self._channels, self._phases, strict=True)):
            if known:
                before = self.before[index - 1](seen(known))
            else:
                before = torch.zeros(1, dtype=dtype, device=quality.device).expand(batch, self.widths[0], height, width)
            inside = list[Tensor]()
            for predictor, (rows, columns) in zip(self._predictors(index), phases, strict=True):
                mean, log_scale = predictor(before[..., rows, columns], inside, quality)
                mean, log_scale = mean * deviation[:, channels], log_scale + level[:, channels]
                inside.append((yield mean, log_scale, (EVERYTHING, channels, rows, columns)))
            known.append(_together(inside))
        return torch.cat(known, 1) * at_quality(self.inverse, quality).to(dtype)

    def _predictors(self, index: int) -> Iterable[nn.Module]:
        group = self.predictors[index]
        assert isinstance(group, nn.ModuleList)
        return group


def seen(values: Sequence[Tensor]) -> Tensor:
    """What networks are given of values (B, c, h, w): compressed, and their magnitudes, which foretell scales."""
    x = compressed(torch.cat(tuple(values), 1))
    return torch.cat((x, x.abs()), 1)


def _by_density(error: Tensor, scale: Tensor) -> Tensor:
    """`thrifty` symbols by the bits of normal densities."""
    return thrifty(error, lambda away: PRICE * normal_bits(away, scale))


def _table(log_scale: Tensor) -> Tensor:
    """Indices of tables, whose scales are evenly spaced in the logarithm."""
    lowest, steps = log2(LOWEST), (LEVELS - 1) / log2(HIGHEST / LOWEST)
    return ((log_scale - lowest) * steps).round().clamp(0, LEVELS - 1).long()


def _together(phases: Sequence[Tensor]) -> Tensor:
    """The phases (B, c, h/2, w/2) of a group, in the order of PHASES, to the group (B, c, h, w)."""
    if len(phases) == 1:
        return phases[0]
    ordered = [phases[PHASES.index((i, j))] for i in (EVEN, ODD) for j in (EVEN, ODD)]
    return nn.functional.pixel_shuffle(torch.stack(ordered, 2).flatten(1, 2), 2)
