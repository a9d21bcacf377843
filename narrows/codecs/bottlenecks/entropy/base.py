"""Entropy models: bottlenecks of rounded latents that predict a frequency table for every symbol.

    y ──▶ stage 0: z ──▶ stage 1: first channels of y ──▶ ... ──▶ latents
            each stage: a mean that is subtracted before rounding, and a table index per symbol;
            both are predicted from the stages before it

Quantization, dequantization, the entropy encoder and the entropy decoder all run the same generator, `stages`. It
computes the predictions exactly (layers/exact.py), so all of them get the same numbers on every machine.
"""

from abc import abstractmethod
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from math import ceil
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from narrows.codecs.base import MAX_RADIX, Bottleneck, Quantized
from narrows.codecs.layers.density import MIN_PROBABILITY, lower_bound
from narrows.errors import InputError

ZERO = MAX_RADIX // 2  # the code of the symbol 0
MIN_SCALE, MAX_SCALE, SCALES = 0.11, 256.0, 64  # scales of the tables: a geometric series (arXiv 1802.01436)
TABLE_REACH = 6  # scales to each side of zero that a table covers; symbols beyond are escaped
CHANNEL_TABLE_REACH = 31  # symbols to each side of zero that the table of a channel covers


@dataclass(frozen=True)
class Stage:
    """The prediction for a group of symbols (B, c, h, w).

    Symbols of video are those of one latent frame, whose `place` has the number of the frame after the codebooks.

    Args:
        mean: mean that is subtracted before rounding.
        tables: table index of each symbol, int64.
        place: slices of the codes (B, K, h, w) that hold the symbols.
        side: `side` × `side` codes of `place` hold the channels of one position (pixel shuffle); 1: no shuffle.
    """

    mean: Tensor
    tables: Tensor
    place: tuple[slice | int, ...]
    side: int = 1


Stages = Generator[Stage, Tensor, Tensor]  # yields stages, receives their symbols, returns latents
Choices = Generator[tuple[tuple[slice | int, ...], NDArray[np.int64]], NDArray[Any], Tensor]


class EntropyModel(Bottleneck):
    """Latents (B, dim, h, w) ⇄ codes (B, K, h, w), h and w multiples of `multiple`; a code is a symbol plus 2048.

    Models of video, whose `axes` are 3, have latents (B, dim, T, h, w) and codes (B, K, T, h, w).

    A quality index runs from 0, the smallest file, to `qualities` - 1, the best quality: an integer for the whole
    batch, or a tensor (B,) with one index per item. In training the indices in a tensor may be fractions.

    `encode`, `decode` and `choose` compute exactly in both modes. The latents of `forward` in eval mode have the
    gradient of z (straight-through); its bits have none.
    """

    axes = 2
    multiple = 1
    qualities = 1
    table_scales: Tensor
    scale_borders: Tensor

    def __init__(self) -> None:
        super().__init__()
        known = scales()
        self.register_buffer("table_scales", torch.from_numpy(known).float(), persistent=False)
        borders = torch.from_numpy(np.sqrt(known[:-1] * known[1:]))  # float64
        self.register_buffer("scale_borders", borders, persistent=False)

    @abstractmethod
    def stages(self, shape: tuple[int, ...], quality_index: Tensor | int) -> Stages:
        """The stages for codes of `shape` (B, *grid), in coding order."""

    @abstractmethod
    def targets(self, y: Tensor, quality_index: Tensor) -> list[Tensor]:
        """The values that each stage codes for latents y (B, dim, h, w), before means are subtracted."""

    @abstractmethod
    def fold(self, parts: Sequence[Tensor]) -> Tensor:
        """Combine one tensor per stage to one tensor of the codes' shape (B, K, h, w)."""

    @abstractmethod
    def unfold(self, x: Tensor) -> list[Tensor]:
        """The inverse of `fold`."""

    @abstractmethod
    def latents(self, values: Sequence[Tensor], quality_index: Tensor) -> Tensor:
        """Latents from the values of all stages; a value is the mean plus the symbol."""

    @abstractmethod
    def estimate(self, parts: Sequence[Tensor], quality_index: Tensor) -> Quantized:
        """Quantize in training: from the values of the stages (`targets`) to latents and estimated bits; no codes."""

    @abstractmethod
    def symbol_bits(self, symbols: Tensor, stage: Stage, index: int) -> Tensor:
        """Estimated bits (B,) of the symbols of stage number `index`."""

    def round(self, error: Tensor, stage: Stage, bit_costs: Tensor | None = None) -> Tensor:
        """Symbols for values minus means: the nearest integers, or cheaper ones near them (see `encode`)."""
        return error.round()

    @property
    @abstractmethod
    def table_sizes(self) -> tuple[int, ...]:
        """Entries of each table: an odd number of symbols centred on zero, and the escape symbol."""

    def forward(self, z: Tensor, quality_index: Tensor | int = 0) -> Quantized:
        """Quantize latents (B, D, h, w).

        Args:
            z: latents.
            quality_index: quality index of the batch, or of each item (B,). The values of a tensor are not checked.
        """
        self._check_latents(z)
        self._check_axes(z)
        if self.training:
            qualities = per_item(self._check_quality(quality_index, len(z)), len(z), z.device)
            return self.estimate(self.targets(z, qualities), qualities)
        parts, latents, bits = self._quantize(z, quality_index)
        latents = latents.to(z.dtype) + (z - z.detach())  # exact: the second term is 0
        return Quantized(latents, self.fold(parts).long() + ZERO, bits=bits)

    def encode(self, z: Tensor, quality_index: Tensor | int = 0, bit_costs: Tensor | None = None) -> Tensor:
        """Encode latents (B, D, h, w) to codes (B, K, h, w) int64.

        Args:
            z: latents.
            quality_index: quality index of the batch, or of each item (B,).
            bit_costs: (tables, r + 1), bits of the symbols ±0 .. ±r in each table, for models that use
                rate-distortion-optimised rounding. Without them bits are estimated from normal densities.
        """
        self._check_latents(z)
        return self.fold(self._quantize(z, quality_index, bit_costs)[0]).long() + ZERO

    def decode(self, codes: Tensor, quality_index: Tensor | int = 0) -> Tensor:
        """Decode codes (B, K, h, w) to latents (B, D, h, w)."""
        codes = self._check_codes(codes)
        if codes.shape[1] != len(self.codebook_sizes) or codes.ndim != 2 + self.axes:
            grid = "h, w" if self.axes == 2 else "T, h, w"
            raise InputError(f"expected codes (B, {len(self.codebook_sizes)}, {grid}), got {tuple(codes.shape)}")
        parts = self.unfold((codes - ZERO).double())
        stages = self.stages(_shape(codes), self._check_quality(quality_index, len(codes)))
        return run_stages(stages, lambda index, stage: parts[index])

    def choose(self, shape: tuple[int, ...], quality_index: int) -> Choices:
        """Run `stages` for the entropy coder, in NumPy.

        The generator yields slices of the codes (B, K, h, w) and the table index of each code in them, receives these
        codes, and returns latents.
        """
        stages = self.stages(shape, self._check_quality(quality_index, shape[0]))
        stage = next(stages)
        while True:
            side = stage.side
            tables = stage.tables if side == 1 else nn.functional.pixel_shuffle(stage.tables, side)
            codes = yield stage.place, tables.cpu().numpy()
            symbols = torch.from_numpy(np.ascontiguousarray(codes)).to(tables.device).double() - ZERO
            try:
                stage = stages.send(symbols if side == 1 else nn.functional.pixel_unshuffle(symbols, side))
            except StopIteration as end:
                return end.value

    @torch.no_grad()
    def _quantize(
        self, y: Tensor, quality_index: Tensor | int, bit_costs: Tensor | None = None
    ) -> tuple[list[Tensor], Tensor, Tensor]:
        """Symbols of all stages, latents and estimated bits (B,) of latents y."""
        quality_index = self._check_quality(quality_index, len(y))
        self._check_axes(y)
        if y.shape[-2] % self.multiple or y.shape[-1] % self.multiple:
            raise InputError(
                f"expected latents whose height and width are multiples of {self.multiple}, got {tuple(y.shape)}"
            )
        targets, parts = self.targets(y, per_item(quality_index, len(y), y.device)), list[Tensor]()
        bits = torch.zeros(y.shape[0], device=y.device)

        def quantized(index: int, stage: Stage) -> Tensor:
            error = targets[index].double() - stage.mean
            parts.append(self.round(error, stage, bit_costs).clamp(1 - ZERO, ZERO - 1))
            bits.add_(self.symbol_bits(parts[-1].float(), stage, index))
            return parts[-1]

        return parts, run_stages(self.stages(_shape(y), quality_index), quantized), bits

    def _check_axes(self, z: Tensor) -> None:
        if z.ndim != 2 + self.axes:
            grid = "h, w" if self.axes == 2 else "T, h, w"
            raise InputError(f"expected latents (B, {self.dim}, {grid}), got {tuple(z.shape)}")

    def _check_quality(self, quality_index: Tensor | int, batch: int) -> Tensor | int:
        if isinstance(quality_index, Tensor):  # reading its values would stall an accelerator
            if quality_index.shape not in ((), (1,), (batch,)):
                raise InputError(
                    f"expected a quality_index for each of {batch} items, got {tuple(quality_index.shape)}"
                )
            return quality_index
        if type(quality_index) is not int or not 0 <= quality_index < self.qualities:
            raise InputError(f"expected a quality_index from 0 to {self.qualities - 1}, got {quality_index!r}")
        return quality_index

    def _scale_of(self, stage: Stage) -> Tensor:
        """Scale that each symbol's table stands for, float32, of the shape of the symbols."""
        return self.table_scales[stage.tables]


def per_item(quality_index: Tensor | int, batch: int, device: torch.device) -> Tensor:
    """A quality index (B,) for each item of a batch."""
    if isinstance(quality_index, Tensor):
        return quality_index.to(device).expand(batch)
    return torch.full((batch,), float(quality_index), device=device)


def run_stages(stages: Stages, symbols_of: Callable[[int, Stage], Tensor]) -> Tensor:
    """Run all stages and return the latents; `symbols_of(index, stage)` supplies the symbols of a stage."""
    stage = next(stages)
    try:
        for index in count():
            stage = stages.send(symbols_of(index, stage))
    except StopIteration as end:
        latents: Tensor = end.value
    return latents


@cache
def scales() -> NDArray[np.float64]:
    """The scales (64,) that the scale tables stand for, in rounding steps."""
    powers: NDArray[np.float64] = MIN_SCALE * (MAX_SCALE / MIN_SCALE) ** (np.arange(SCALES) / (SCALES - 1))
    return powers


def scale_table_sizes() -> tuple[int, ...]:
    """Number of symbols of each scale table: those up to TABLE_REACH scales from zero, and the escape symbol."""
    reaches = (ceil(round(TABLE_REACH * scale, 6)) for scale in scales())  # powers may differ in their last bits
    return tuple(2 * min(ZERO - 1, reach) + 2 for reach in reaches)


def normal_bits(error: Tensor, scale: Tensor) -> Tensor:
    """Bits, elementwise, of [error - 1/2, error + 1/2] under zero-mean normal densities of these scales."""
    distance, root = error.abs(), 0.5**0.5 / scale
    p = 0.5 * (torch.erfc((distance - 0.5) * root) - torch.erfc((distance + 0.5) * root))
    return -lower_bound(p, MIN_PROBABILITY).log2()


def rdo_round(error: Tensor, cost: Callable[[Tensor], Tensor]) -> Tensor:
    """Rate-distortion-optimised rounding: the integers with the lowest squared error + cost.

    Candidates are the nearest integer and its neighbour towards zero, as in the rate-distortion-optimised quantization
    of video encoders (Sullivan and Wiegand, IEEE SPM 15(6), 1998).

    Args:
        error: values to be rounded.
        cost: cost of symbols of these magnitudes, in squared rounding steps.
    """
    magnitude = error.abs()
    nearest = magnitude.round()
    smaller = (nearest - 1).clamp(min=0)
    worse = (magnitude - nearest).square() + cost(nearest) > (magnitude - smaller).square() + cost(smaller)
    return torch.where(worse, smaller, nearest) * error.sign()


def straight_through_round(x: Tensor) -> Tensor:
    """Round x to the nearest integers, with the gradient of x."""
    return x + (x.round() - x).detach()


def add_uniform_noise(x: Tensor) -> Tensor:
    """Add uniform noise as wide as one rounding step."""
    return x + torch.rand_like(x) - 0.5


def noisy_and_rounded(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return x with noise, for the rate, and x rounded straight-through, for all else (arXiv 2007.08739)."""
    return add_uniform_noise(x), straight_through_round(x)


def _shape(x: Tensor) -> tuple[int, ...]:
    return x.shape[0], *x.shape[2:]
