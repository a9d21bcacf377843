"""Gradient estimators for quantization, because its own gradient is zero almost everywhere.

All estimators return the code, bit for bit, and differ only in the gradient of the vector. The codes get no gradient
here: a codebook is trained by its own loss or by an EMA.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from narrows.errors import InputError
from narrows.parts import part

MIN_NORM = 1e-6  # shorter vectors have no direction
MIN_MIDDLE = 1e-3  # two directions are opposite if the sum of their unit vectors is shorter


class Estimator(nn.Module, ABC):
    """Returns the codes (..., d) of vectors (..., d), with a gradient for the vectors."""

    kind: ClassVar[str] = "estimator"

    def __init__(self) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, vectors: Tensor, codes: Tensor) -> Tensor:
        """The codes (..., d), bit for bit."""


@part("straight-through")
class StraightThrough(Estimator):
    """Straight-through estimator (Bengio et al., arXiv 1308.3432): the vector gets the gradient of the code."""

    def forward(self, vectors: Tensor, codes: Tensor) -> Tensor:
        """The codes (..., d)."""
        return _with_gradient_of(codes, vectors)


@part("rotation-trick")
class RotationTrick(Estimator):
    """Rotation trick (Fifty et al., arXiv 2410.06424, section 4.2).

    The code is written as λ R e, with the vector e, the rotation R from its direction to the direction of the code, and
    the ratio of norms λ; λ and R are treated as constants. Do not use it for randomly sampled codes, which may lie in
    any direction.

    The gradient is straight-through where there is no such rotation: for vectors of one dimension, for a vector or code
    of length 0, and for opposite directions, between which the rotation is not unique.

    Args:
        max_ratio: upper bound of λ, which is unbounded for vectors near zero.
    """

    def __init__(self, max_ratio: float = 4.0) -> None:
        super().__init__()
        if type(max_ratio) not in (int, float) or not 1 <= max_ratio <= 1e6:
            raise InputError(f"expected max_ratio from 1 to 1000000, got {max_ratio!r}")
        self.max_ratio = max_ratio

    def forward(self, vectors: Tensor, codes: Tensor) -> Tensor:
        """The codes (..., d)."""
        if not vectors.requires_grad:
            return codes.detach()
        if vectors.shape[-1] == 1:
            return _with_gradient_of(codes, vectors)
        e, q = vectors.detach(), codes.detach()
        e_length, q_length = (x.norm(dim=-1, keepdim=True) for x in (e, q))
        ratio = (q_length / e_length.clamp(min=MIN_NORM)).clamp(max=self.max_ratio)  # λ
        start, end = (nn.functional.normalize(x, dim=-1, eps=MIN_NORM) for x in (e, q))
        middle = start + end
        between = nn.functional.normalize(middle, dim=-1, eps=MIN_NORM)  # r
        along = (vectors * between).sum(-1, keepdim=True)
        ahead = (vectors * start).sum(-1, keepdim=True)
        rotated = ratio * (vectors - 2 * along * between + 2 * ahead * end)
        opposite = middle.norm(dim=-1, keepdim=True) < MIN_MIDDLE
        undefined = opposite | (e_length < MIN_NORM) | (q_length < MIN_NORM)
        return _with_gradient_of(codes, torch.where(undefined, vectors, rotated))


def _with_gradient_of(value: Tensor, gradient: Tensor) -> Tensor:
    """The values of one tensor with the gradient of another; the added difference is exactly 0."""
    return value.detach() + (gradient - gradient.detach())
