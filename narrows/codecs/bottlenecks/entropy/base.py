"""Bottlenecks of rounded latents, whose integers are coded with tables that the model chooses symbol by symbol.

    y ──▶ stage 0: z ──▶ stage 1: first channels of y ──▶ ... ──▶ latents
            each stage: a mean to subtract before rounding, and for each symbol the index of a table to code it with;
            both follow from the stages before it

`stages` is one generator that quantization, dequantization and both sides of the entropy coder run alike. What it
yields is computed exactly (layers/exact.py), so all of them see the same numbers, wherever they run.
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

from narrows.codecs.base import LARGEST_DIGIT, Bottleneck, Quantized
from narrows.codecs.layers.density import LEAST, at_least
from narrows.errors import InputError

ZERO = LARGEST_DIGIT // 2  # the code of the symbol 0
LOWEST, HIGHEST, LEVELS = 0.11, 256.0, 64  # scales of the tables, in symbols: a geometric series (arXiv 1802.01436)
WIDEST = 6  # scales to each side of zero, beyond which a symbol has no share of its own
FREE_REACH = 31  # the same, in symbols, where a table is not of a scale but of a channel


@dataclass(frozen=True)
class Stage:
    """Symbols to be coded (B, c, h, w): the mean that is subtracted before rounding, and the index of each table.

    place: which of the codes (B, K, h, w) they are. side: a square of so many codes a side is one position of them.
    """

    mean: Tensor
    tables: Tensor
    place: tuple[slice, slice, slice, slice]
    side: int = 1


Stages = Generator[Stage, Tensor, Tensor]  # yields stages, is sent their symbols, returns latents
Choices = Generator[tuple[tuple[slice, ...], NDArray[np.int64]], NDArray[Any], Tensor]


class EntropyModel(Bottleneck):
    """Latents (B, dim, h, w) ⇄ codes (B, K, h, w), h and w multiples of `multiple`; a code is a symbol plus 2048.

    quality: 0 to `qualities` - 1, from the smallest file to the best. In training it may lie between two of them, and
    differ from item to item: a tensor (B,).
    """

    multiple = 1
    qualities = 1

    @abstractmethod
    def stages(self, shape: tuple[int, int, int], quality: int) -> Stages:
        """The stages of codes of `shape` (B, h, w), in the order in which they are coded."""

    @abstractmethod
    def targets(self, y: Tensor, quality: Tensor) -> list[Tensor]:
        """What each stage codes of latents y (B, dim, h, w), before the mean is subtracted and the rest is rounded."""

    @abstractmethod
    def fold(self, parts: Sequence[Tensor]) -> Tensor:
        """Tensors of the stages' shapes to one (B, K, h, w)."""

    @abstractmethod
    def unfold(self, x: Tensor) -> list[Tensor]:
        """The inverse of `fold`."""

    @abstractmethod
    def latents(self, values: Sequence[Tensor], quality: Tensor) -> Tensor:
        """The latents that `stages` returns where means and symbols add up to these values."""

    @abstractmethod
    def learn(self, parts: Sequence[Tensor], quality: Tensor) -> Quantized:
        """What the stages code, from `targets`, to Quantized: estimated bits with gradients, no codes."""

    @abstractmethod
    def bits_of(self, symbols: Tensor, stage: Stage, index: int) -> Tensor:
        """Estimated bits (B,) of the symbols of stage number `index`."""

    def rounded(self, error: Tensor, stage: Stage, prices: Tensor | None = None) -> Tensor:
        """Symbols for what is left of latents when the mean is subtracted: the nearest integers.

        prices: see `encode`.
        """
        return error.round()

    @property
    @abstractmethod
    def table_sizes(self) -> tuple[int, ...]:
        """Entries of each table that a stage may name: an odd number of symbols around zero, and the escape."""

    def forward(self, z: Tensor, quality: Tensor | int = 0) -> Quantized:
        """Latents (B, D, h, w) to Quantized; in eval mode all items have one quality."""
        self._check_latents(z)
        if self.training:
            share = self._quality(quality, z)
            return self.learn(self.targets(z, share), share)
        number = int(quality if isinstance(quality, int) else quality[0])
        parts, latents, bits = self._walk(z, number)
        return Quantized(latents, self.fold(parts).long() + ZERO, bits=bits)

    def encode(self, z: Tensor, quality: int = 0, prices: Tensor | None = None) -> Tensor:
        """Latents (B, D, h, w) to codes (B, K, h, w) int64.

        prices (tables, r + 1): bits that each table takes for symbols 0 .. r away from zero, for models that round by
        rate. Without them densities tell.
        """
        self._check_latents(z)
        return self.fold(self._walk(z, quality, prices)[0]).long() + ZERO

    def decode(self, codes: Tensor, quality: int = 0) -> Tensor:
        """Codes (B, K, h, w) to latents (B, D, h, w)."""
        self._check_codes(codes)
        if codes.shape[1] != len(self.codebook_sizes) or codes.ndim != 4:
            raise InputError(f"codes of shape {tuple(codes.shape)} given, all {len(self.codebook_sizes)} wanted")
        parts = self.unfold((codes - ZERO).double())
        return driven(self.stages(_shape(codes), self._number(quality)), lambda index, stage: parts[index])

    def choose(self, shape: tuple[int, int, int], quality: int) -> Choices:
        """`stages` for the entropy coder: yields places and the tables there, is sent the codes, returns latents."""
        stages = self.stages(shape, self._number(quality))
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
    def _walk(self, y: Tensor, quality: int, prices: Tensor | None = None) -> tuple[list[Tensor], Tensor, Tensor]:
        """Symbols of all stages, latents and estimated bits (B,) of latents y."""
        quality = self._number(quality)
        if y.shape[2] % self.multiple or y.shape[3] % self.multiple:
            raise InputError(f"latents of shape {tuple(y.shape)} given, sides of multiples of {self.multiple} wanted")
        targets, parts, bits = (
            self.targets(y, self._quality(quality, y)),
            list[Tensor](),
            torch.zeros(len(y)).to(y.device),
        )

        def coded(index: int, stage: Stage) -> Tensor:
            error = targets[index].double() - stage.mean
            parts.append(self.rounded(error, stage, prices).clamp(1 - ZERO, ZERO - 1))
            bits.add_(self.bits_of(parts[-1].float(), stage, index))
            return parts[-1]

        return parts, driven(self.stages(_shape(y), quality), coded), bits

    def _number(self, quality: int) -> int:
        if type(quality) is not int or not 0 <= quality < self.qualities:
            raise InputError(f"quality {quality!r} given, 0 to {self.qualities - 1} wanted")
        return quality

    def _quality(self, quality: Tensor | float, y: Tensor) -> Tensor:
        if isinstance(quality, Tensor):
            return quality.to(y.device).expand(len(y))
        return torch.full((len(y),), float(quality), device=y.device)


def driven(stages: Stages, symbols_of: Callable[[int, Stage], Tensor]) -> Tensor:
    """Latents that stages return, when each is sent its symbols: those of its number and of what it tells."""
    stage = next(stages)
    try:
        for index in count():
            stage = stages.send(symbols_of(index, stage))
    except StopIteration as end:
        latents: Tensor = end.value
    return latents


@cache
def scales() -> NDArray[np.float64]:
    """The scales (64,) that the first tables stand for, in symbols."""
    powers: NDArray[np.float64] = LOWEST * (HIGHEST / LOWEST) ** (np.arange(LEVELS) / (LEVELS - 1))
    return powers


def scale_table_sizes() -> tuple[int, ...]:
    """Entries of the tables of the scales: symbols to WIDEST scales from zero, and the escape."""
    reaches = (ceil(round(WIDEST * scale, 6)) for scale in scales())  # powers may differ in their last bits
    return tuple(2 * min(ZERO - 1, reach) + 2 for reach in reaches)


def scale_of(stage: Stage) -> Tensor:
    """What the tables of a stage stand for, float32, of the shape of its symbols."""
    return torch.from_numpy(scales()).float().to(stage.tables.device)[stage.tables]


def normal_bits(error: Tensor, scale: Tensor) -> Tensor:
    """Bits, elementwise, of [error - 1/2, error + 1/2] under centred normal densities of these scales."""
    distance, root = error.abs(), 0.5**0.5 / scale
    p = 0.5 * (torch.erfc((distance - 0.5) * root) - torch.erfc((distance + 0.5) * root))
    return -at_least(p, LEAST).log2()


def thrifty(error: Tensor, price: Callable[[Tensor], Tensor]) -> Tensor:
    """Integers of least squared error + price: the nearest to each error, or one nearer to zero.

    price: of symbols that are so far from zero, in squared rounding steps. Rate-distortion optimised quantization, as
    encoders of video have it (Sullivan and Wiegand, IEEE SPM 15(6), 1998).
    """
    distance = error.abs()
    near = distance.round()
    less = (near - 1).clamp(min=0)
    dearer = (distance - near).square() + price(near) > (distance - less).square() + price(less)
    return torch.where(dearer, less, near) * error.sign()


def rounded(x: Tensor) -> Tensor:
    """Integers nearest to x, with the gradient of x (straight-through)."""
    return x + (x.round() - x).detach()


def noisy(x: Tensor) -> Tensor:
    """x with uniform noise as wide as a rounding step."""
    return x + torch.rand_like(x) - 0.5


def noisy_and_rounded(x: Tensor) -> tuple[Tensor, Tensor]:
    """Noise for the rate, rounding with a straight-through gradient for all else (arXiv 2007.08739)."""
    return noisy(x), rounded(x)


def _shape(x: Tensor) -> tuple[int, int, int]:
    return len(x), x.shape[2], x.shape[3]
