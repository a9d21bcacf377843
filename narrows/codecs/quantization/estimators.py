"""What gradient a vector gets that was replaced by a code: the rounding itself has none.

Every estimator gives the code, bit for bit, and differs in the gradient only. The codes get no gradient from here:
a codebook learns from its own loss, or from its running means.
"""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from narrows.errors import InputError
from narrows.parts import part

TINY = 1e-6  # a vector shorter than this has no direction


class Estimator(nn.Module, ABC):
    """Vectors (..., d) and their codes (..., d) to the codes, with a gradient to the vectors."""

    def __init__(self) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, vectors: Tensor, codes: Tensor) -> Tensor:
        """The codes (..., d), equal bit for bit."""


@part("straight-through")
class StraightThrough(Estimator):
    """The gradient at the code is taken for the gradient at the vector (Bengio et al., arXiv 1308.3432)."""

    def forward(self, vectors: Tensor, codes: Tensor) -> Tensor:
        """The codes (..., d)."""
        return _passing(codes, vectors)


@part("rotation-trick")
class RotationTrick(Estimator):
    """The gradient turns with the vector (Fifty et al., arXiv 2410.06424, section 4.2).

    The code is written as λ R e, with the vector e, the rotation R that carries its direction to that of the code, and
    the ratio of lengths λ, both taken for constants. It is not for codes that are drawn at random: those may lie
    anywhere around the vector.

    longest: the largest λ; it grows without bound for vectors near zero.
    """

    def __init__(self, longest: float = 4.0) -> None:
        super().__init__()
        if type(longest) not in (int, float) or not 1 <= longest <= 1e6:
            raise InputError(f"longest={longest!r} given, 1 to 1000000 wanted")
        self.longest = longest

    def forward(self, vectors: Tensor, codes: Tensor) -> Tensor:
        """The codes (..., d)."""
        if not vectors.requires_grad:
            return codes.detach()
        e, q = vectors.detach(), codes.detach()
        length = e.norm(dim=-1, keepdim=True).clamp(min=TINY)
        ratio = (q.norm(dim=-1, keepdim=True) / length).clamp(max=self.longest)  # λ
        start = e / length
        end = nn.functional.normalize(q, dim=-1, eps=TINY)
        between = nn.functional.normalize(start + end, dim=-1, eps=TINY)  # r
        along = (vectors * between).sum(-1, keepdim=True)
        ahead = (vectors * start).sum(-1, keepdim=True)
        return _passing(codes, ratio * (vectors - 2 * along * between + 2 * ahead * end))


def _passing(value: Tensor, gradient: Tensor) -> Tensor:
    """The numbers of one tensor with the gradient of another; the difference is exactly 0."""
    return value.detach() + (gradient - gradient.detach())
