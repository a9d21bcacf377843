"""How real numbers become integers: a uniform grid of a stated step over a stated range."""

import math

import torch
from torch import Tensor

from narrows.codecs.base import LARGEST_DIGIT
from narrows.errors import InputError
from narrows.parts import part


@part("rounding")
class Rounding:
    """The multiples of `step` from -limit to limit. What lies beyond is clipped; the gradient passes unchanged.

    In training, uniform noise one step wide stands in for the rounding (Ballé et al., arXiv 1611.01704, section 3): it
    has the error's size, and it is smooth. In eval numbers are rounded.
    """

    def __init__(self, step: float = 0.25, limit: float = 4.0) -> None:
        for name, value in {"step": step, "limit": limit}.items():
            if type(value) not in (int, float) or not 0 < value < math.inf:
                raise InputError(f"{name}={value!r} given, a number above 0 wanted")
        self.step, self.limit = step, limit
        self.farthest = math.floor(min(limit / step, LARGEST_DIGIT) + 1e-6)  # steps on either side of 0
        self.levels = 2 * self.farthest + 1
        if not 3 <= self.levels <= LARGEST_DIGIT:
            raise InputError(f"step={step!r}, limit={limit!r} make {self.levels} levels, 3 to {LARGEST_DIGIT} wanted")

    def noisy(self, y: Tensor) -> Tensor:
        """Numbers clipped to the range, with uniform noise."""
        edge = self.farthest * self.step
        clipped = y + (y.clamp(-edge, edge) - y).detach()
        return clipped + (torch.rand_like(y) - 0.5) * self.step

    def codes(self, y: Tensor) -> Tensor:
        """Numbers to integers 0 to levels - 1."""
        return (y / self.step).round().clamp(-self.farthest, self.farthest).long() + self.farthest

    def values(self, codes: Tensor) -> Tensor:
        """Integers to numbers, float32."""
        return (codes - self.farthest).float() * self.step
