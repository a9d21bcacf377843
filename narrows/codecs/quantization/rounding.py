"""Rounds continuous latents to a uniform grid."""

import math
from typing import ClassVar

import torch
from torch import Tensor

from narrows.codecs.base import MAX_RADIX
from narrows.errors import InputError
from narrows.parts import part


@part("rounding")
class Rounding:
    """Rounds to the multiples of `step` from -limit to limit and clips; the gradient is straight-through.

    In training, uniform noise as wide as one step replaces rounding (Ballé et al., arXiv 1611.01704, section 3).

    Args:
        step: distance of two levels.
        limit: largest level, rounded down to a multiple of the step; there must be 3 to 4096 levels.
    """

    kind: ClassVar[str] = "rounding"

    def __init__(self, step: float = 0.25, limit: float = 4.0) -> None:
        for name, value in {"step": step, "limit": limit}.items():
            if type(value) not in (int, float) or not 0 < value < math.inf:
                raise InputError(f"expected {name} to be a finite number above 0, got {value!r}")
        self.step, self.limit = step, limit
        self.farthest = math.floor(min(limit / step, MAX_RADIX) + 1e-6)  # levels on either side of 0
        self.levels = 2 * self.farthest + 1
        if not 3 <= self.levels <= MAX_RADIX:
            raise InputError(f"expected 3 to {MAX_RADIX} levels, got {self.levels} from step={step!r}, limit={limit!r}")

    def noisy(self, y: Tensor) -> Tensor:
        """Clip values to the range and add uniform noise."""
        edge = self.farthest * self.step
        clipped = y + (y.clamp(-edge, edge) - y).detach()
        return clipped + (torch.rand_like(y) - 0.5) * self.step

    def codes(self, y: Tensor) -> Tensor:
        """Convert values to codes from 0 to levels - 1, int64."""
        return (y / self.step).round().clamp(-self.farthest, self.farthest).nan_to_num().long() + self.farthest

    def values(self, codes: Tensor) -> Tensor:
        """Convert codes to values, float32."""
        return (codes - self.farthest).float() * self.step
