"""A space-channel context model: each group of latents is coded conditioned on all groups before it.

    y × gain ─▶ channels 0 .. 15 at every second row and column ─▶ ... at the three other phases of the grid ─▶
             ─▶ the next channels, phase by phase ─▶ ... ─▶ the last channels at all positions at once

    groups before, around a position ────── 3 × 3 ─┐
    phases of the same group coded before ─ 3 × 3 ─┴─ 1 × 1 ─ 1 × 1 ─ 1 × 1 ─▶ mean, scale

Groups of channels: Minnen and Singh, arXiv 2007.08739; uneven groups, and phases of the grid: ELIC (He et al., arXiv
2203.10886); gain vectors, by which one model serves many qualities: Cui et al., arXiv 2003.02012. There is no side
information: if the latents start as the components of a linear transform, the first channels take its place.
"""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import log2

import torch
from torch import Tensor, nn

from narrows.codecs.base import MAX_RADIX, Quantized
from narrows.codecs.bottlenecks.entropy.base import (
    MAX_SCALE,
    MIN_SCALE,
    SCALES,
    EntropyModel,
    Stage,
    Stages,
    add_uniform_noise,
    normal_bits,
    per_item,
    rdo_round,
    scale_table_sizes,
)
from narrows.codecs.checks import MAX_SIZE, check_integer_lists, check_integers
from narrows.codecs.layers.density import lower_bound
from narrows.codecs.layers.exact import ExactConv2d, quantize_activations, signed_sqrt
from narrows.codecs.layers.qualities import ANCHORS, QUALITIES, at_quality
from narrows.errors import InputError
from narrows.parts import part

DEPTH = 2  # hidden layers of a predictor
BIT_COST = 0.1  # cost of one bit in squared rounding steps; theory for high rates: 2 ln 2 / 12 = 0.116
ALL = slice(None)
EVEN, ODD = slice(0, None, 2), slice(1, None, 2)
WHOLE = ((ALL, ALL),)
PHASES = ((EVEN, EVEN), (ODD, ODD), (EVEN, ODD), (ODD, EVEN))  # rows and columns, in the order of coding

Place = tuple[slice | int, ...]
Predictions = Generator[tuple[Tensor, Tensor, Place], Tensor, Tensor]


@dataclass(frozen=True)
class Earlier:
    """What the latents before, in time, add to the prediction of a latent frame.

    Args:
        features: (B, width, h, w) for each group.
        mean: (B, K, h, w), in rounding steps.
        log_scale: (1, K, 1, 1), log2.
    """

    features: Sequence[Tensor]
    mean: Tensor
    log_scale: Tensor


class Predictor(nn.Module):
    """Predicts means and scales of one phase of a group from the latents coded before it and the quality.

    Args:
        inside: total number of channels of the phases of the same group that are coded before.
        width: hidden channels.
        size: channels of the group.
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

    def forward(self, before: Tensor, inside: Sequence[Tensor], quality_index: Tensor) -> tuple[Tensor, Tensor]:
        """Predict means and logarithms of scales.

        Args:
            before: features (B, width, h, w) of the groups before.
            inside: values (B, size, h, w) of each phase of this group that is coded before.
            quality_index: quality index (B,) of each item.

        Returns:
            Means and log2 of the scales, each (B, size, h, w).
        """
        x = before + at_quality(self.quality, quality_index).to(before.dtype)
        if self.inside is not None:
            x = x + self.inside(context_features(inside))
        for layer in self.hidden:
            x = layer(nn.functional.relu(x))
        mean, scale = self.out(nn.functional.relu(x)).chunk(2, 1)
        return mean, scale


@part("space-channel-context")
class SpaceChannelContext(EntropyModel):
    """Space-channel context model of latents (B, sum(groups), h, w), h and w even, at quality indices 0 to 56.

    Args:
        groups: channels of each group, in coding order.
        phased: number of groups, from the first, whose four phases are coded one after another.
        widths: hidden channels of each group's predictors.
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
        check_integer_lists(1, MAX_SIZE, groups=groups, widths=widths)
        check_integers(1, MAX_SIZE, channels=sum(groups))
        check_integers(0, len(groups), phased=phased)
        if len(widths) != len(groups):
            raise InputError(f"expected one width per group, got {len(groups)} groups and {len(widths)} widths")
        self.groups, self.widths, self.dim = tuple(groups), tuple(widths), sum(groups)
        self.codebook_sizes, self.prefixes = (MAX_RADIX,) * self.dim, (self.dim,)
        starts = [0, *accumulate(groups)][:-1]
        self._phases = [PHASES if index < phased else WHOLE for index in range(len(groups))]
        self._channels = [slice(start, start + size) for start, size in zip(starts, groups, strict=True)]
        # These layers compute the features of the groups before; all phases of a group share them.
        self.before = nn.ModuleList(
            ExactConv2d(2 * start, width, 3) for start, width in zip(starts[1:], widths[1:], strict=True)
        )
        self.predictors = nn.ModuleList(
            nn.ModuleList(Predictor(size * known, width, size) for known in range(len(phases)))
            for size, width, phases in zip(groups, widths, self._phases, strict=True)
        )
        self.root_gain = nn.Parameter(torch.ones(ANCHORS, self.dim))
        self.inverse = nn.Parameter(torch.ones(ANCHORS, self.dim))
        self.log_scale = nn.Parameter(torch.zeros(ANCHORS, self.dim))  # log2 of scales in rounding steps
        self.register_buffer("spread", torch.ones(self.dim))  # standard deviation of each channel

    @property
    def table_sizes(self) -> tuple[int, ...]:
        """The tables of the scales."""
        return scale_table_sizes()

    def estimate(self, parts: Sequence[Tensor], quality_index: Tensor) -> Quantized:
        """Noise replaces rounding for the rate; later predictions and the decoder get symbols from `rdo_round`."""
        bits = torch.zeros(len(quality_index), device=quality_index.device)
        predictions = self._predictions(quality_index, self.fold(parts).shape, torch.float32)
        mean, log_scale, _ = next(predictions)
        try:
            for part in parts:
                error = part - mean
                scale = lower_bound(torch.exp2(log_scale.clamp(max=log2(MAX_SCALE) + 2)), MIN_SCALE)
                symbols = _rdo_round_normal(error.detach(), scale.detach())
                bits = bits + normal_bits(add_uniform_noise(error), scale).flatten(1).sum(1)
                mean, log_scale, _ = predictions.send(mean + error + (symbols - error).detach())
        except StopIteration as end:
            return Quantized(end.value.to(parts[0].dtype), bits=bits)
        raise AssertionError("a stage was not coded")

    def stages(self, shape: tuple[int, ...], quality_index: Tensor | int) -> Stages:
        """The phases of each group."""
        batch, *grid = shape
        qualities = per_item(quality_index, batch, self.spread.device)
        predictions = self._predictions(qualities, (batch, self.dim, *grid), torch.float64)
        try:
            mean, log_scale, place = next(predictions)
            while True:
                mean = quantize_activations(mean)
                mean, log_scale, place = predictions.send(mean + (yield Stage(mean, _table(log_scale), place)))
        except StopIteration as end:
            return end.value.float()

    def targets(self, y: Tensor, quality_index: Tensor) -> list[Tensor]:
        """The phases of each group of y, times the gain."""
        return self.unfold(y.float() * at_quality(self.root_gain, quality_index).square().float())

    def fold(self, parts: Sequence[Tensor]) -> Tensor:
        """Interleave phases and concatenate groups."""
        phases, groups = iter(parts), self._phases
        return torch.cat([_interleave([next(phases) for _ in group]) for group in groups], 1)

    def unfold(self, x: Tensor) -> list[Tensor]:
        """The inverse of `fold`."""
        return [
            x[:, channels, rows, columns]
            for channels, phases in zip(self._channels, self._phases, strict=True)
            for rows, columns in phases
        ]

    def symbol_bits(self, symbols: Tensor, stage: Stage, index: int) -> Tensor:
        """Bits under normal densities with the tables' scales."""
        return normal_bits(symbols, self._scale_of(stage)).flatten(1).sum(1)

    def round(self, error: Tensor, stage: Stage, bit_costs: Tensor | None = None) -> Tensor:
        """`rdo_round` with these bit costs, or with the bits of normal densities."""
        if bit_costs is None:
            return _rdo_round_normal(error.float(), self._scale_of(stage)).double()
        costs, largest = BIT_COST * bit_costs.to(error.device), bit_costs.shape[1] - 1
        return rdo_round(
            error.float(), lambda magnitude: costs[stage.tables, magnitude.clamp(max=largest).long()]
        ).double()

    def latents(self, values: Sequence[Tensor], quality_index: Tensor) -> Tensor:
        """Values of all stages, folded, times the inverse gain."""
        folded = self.fold(values)
        return folded * at_quality(self.inverse, quality_index).to(folded.dtype)

    def _predictions(self, quality_index: Tensor, shape: Sequence[int], dtype: torch.dtype) -> Predictions:
        """Predict all phases of all groups in coding order, for codes of `shape` (B, K, h, w); exactly in float64.

        The generator yields the mean, log2 of the scale and the place in the codes, and receives the values there, all
        in rounding steps. It returns latents.
        """
        values = yield from self._predict(quality_index, shape, dtype)
        return values * at_quality(self.inverse, quality_index).to(dtype)

    def _predict(
        self, quality_index: Tensor, shape: Sequence[int], dtype: torch.dtype, earlier: Earlier | None = None
    ) -> Predictions:
        """Predict one image or latent frame, `earlier` from the one before; returns its values, in rounding steps."""
        batch, _, height, width = shape
        gain = at_quality(self.root_gain, quality_index).square()
        deviation = (self.spread.view(1, -1, 1, 1) * gain).detach().to(dtype)
        level = at_quality(self.log_scale, quality_index).to(dtype)
        if earlier is not None:
            level = level + earlier.log_scale
        known = list[Tensor]()
        for index, (channels, phases) in enumerate(zip(self._channels, self._phases, strict=True)):
            if known:
                before = self.before[index - 1](context_features(known))
            else:
                before = torch.zeros(1, dtype=dtype, device=quality_index.device).expand(
                    batch, self.widths[0], height, width
                )
            if earlier is not None:
                before = before + earlier.features[index]
            inside = list[Tensor]()
            for predictor, (rows, columns) in zip(self._predictors(index), phases, strict=True):
                mean, log_scale = predictor(before[..., rows, columns], inside, quality_index)
                mean, log_scale = mean * deviation[:, channels], log_scale + level[:, channels]
                if earlier is not None:
                    mean = mean + earlier.mean[:, channels, rows, columns]
                inside.append((yield mean, log_scale, (ALL, channels, rows, columns)))
            known.append(_interleave(inside))
        return torch.cat(known, 1)

    def _predictors(self, index: int) -> Iterable[nn.Module]:
        group = self.predictors[index]
        assert isinstance(group, nn.ModuleList)
        return group


def context_features(values: Sequence[Tensor]) -> Tensor:
    """Compute inputs of the networks: range-compressed values (B, c, h, w), and their magnitudes to predict scales."""
    x = signed_sqrt(torch.cat(tuple(values), 1))
    return torch.cat((x, x.abs()), 1)


def _rdo_round_normal(error: Tensor, scale: Tensor) -> Tensor:
    """`rdo_round` with the bits of normal densities."""
    return rdo_round(error, lambda magnitude: BIT_COST * normal_bits(magnitude, scale))


def _table(log_scale: Tensor) -> Tensor:
    """Convert log2 of scales to indices of the nearest tables, whose scales are evenly spaced in the logarithm."""
    lowest, steps = log2(MIN_SCALE), (SCALES - 1) / log2(MAX_SCALE / MIN_SCALE)
    return ((log_scale - lowest) * steps).round().clamp(0, SCALES - 1).long()


def _interleave(phases: Sequence[Tensor]) -> Tensor:
    """Interleave the phases (B, c, h/2, w/2) of a group, in the order of PHASES, to the group (B, c, h, w)."""
    if len(phases) == 1:
        return phases[0]
    ordered = [phases[PHASES.index((i, j))] for i in (EVEN, ODD) for j in (EVEN, ODD)]
    return nn.functional.pixel_shuffle(torch.stack(ordered, 2).flatten(1, 2), 2)
