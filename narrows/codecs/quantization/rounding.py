"""Rounding of continuous latents to a uniform grid."""

import math
from typing import ClassVar

import torch
from torch import Tensor

from narrows.codecs.base import LARGEST_DIGIT
from narrows.errors import InputError
from narrows.parts import part


@part("rounding")
class Rounding:
    """The multiples of `step` from -limit to limit. Values beyond are clipped; the gradient is straight-through.

    In training, uniform noise of one step's width replaces rounding (Ballé et al., arXiv 1611.01704, section 3).

    Args:
        step: distance of two levels.
        limit: largest level, up to rounding to a multiple of the step; 3 to 4096 levels in all.
    """

    kind: ClassVar[str] = "rounding"

    def __init__(self, step: float = 0.25, limit: float = 4.0) -> None:
        for name, value in {"step": step, "limit": limit}.items():
            if type(value) not in (int, float) or not 0 < value < math.inf:
                raise InputError(f"expected {name} to be a finite number above 0, got {value!r}")
        self.step, self.limit = step, limit
        self.farthest = math.floor(min(limit / step, LARGEST_DIGIT) + 1e-6)  # levels on either side of 0
        self.levels = 2 * self.farthest + 1
        if not 3 <= self.levels <= LARGEST_DIGIT:
            raise InputError(
                f"expected 3 to {LARGEST_DIGIT} levels, got {self.levels} from step={step!r}, limit={limit!r}"
            )

    def noisy(self, y: Tensor) -> Tensor:
        """Values, clipped to the range, with uniform noise."""
        edge = self.farthest * self.step
        clipped = y + (y.clamp(-edge, edge) - y).detach()
        return clipped + (torch.rand_like(y) - 0.5) * self.step

    def codes(self, y: Tensor) -> Tensor:
        """Values to codes 0 to levels - 1, int64."""
        return (y / self.step).round().clamp(-self.farthest, self.farthest).nan_to_num().long() + self.farthest

    def values(self, codes: Tensor) -> Tensor:
        """Codes to values, float32."""
        return (codes - self.farthest).float() * self.step
