import math

import pytest
import torch
from torch import Tensor, nn
from vector_quantize_pytorch.vector_quantize_pytorch import rotate_to, straight_through

from narrows.codecs import VQ, EMACodebook, Estimator, RotationTrick, StraightThrough
from narrows.errors import InputError


@pytest.mark.parametrize("estimator", [StraightThrough(), RotationTrick()])
def test_estimators_return_the_code_bit_for_bit(estimator: Estimator) -> None:
    torch.manual_seed(0)
    codes = torch.randn(1000, 8)
    for scale in (1e-30, 1e-5, 1.0, 1e5):
        vectors = (scale * torch.randn(1000, 8)).requires_grad_()
        assert torch.equal(estimator(vectors, codes), codes)


@pytest.mark.parametrize(
    ("estimator", "theirs"), [(StraightThrough(), straight_through), (RotationTrick(max_ratio=1e6), rotate_to)]
)
def test_the_gradient_is_that_of_vector_quantize_pytorch(estimator: Estimator, theirs: object) -> None:
    torch.manual_seed(0)
    codes, weights = torch.randn(200, 8), torch.randn(200, 8)
    gradients = []
    for function in (estimator, theirs):
        vectors = torch.randn(200, 8, generator=torch.Generator().manual_seed(1)).requires_grad_()
        (function(vectors, codes) * weights).sum().backward()  # type: ignore[operator]
        gradients.append(vectors.grad)
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-5, rtol=1e-5)


def gradient(estimator: nn.Module, vector: Tensor, code: Tensor, outer: Tensor) -> Tensor:
    vector = vector.clone().requires_grad_()
    estimator(vector, code).backward(outer)
    assert vector.grad is not None
    return vector.grad


def test_rotation_keeps_the_angle_between_gradient_and_vector() -> None:
    torch.manual_seed(0)
    e, q, outer = torch.randn(3, 1, 6).unbind(0)
    inner = gradient(RotationTrick(), e, q, outer)
    cosine = nn.functional.cosine_similarity
    assert cosine(inner, e).item() == pytest.approx(cosine(outer, q).item(), abs=1e-5)
    assert inner.norm().item() == pytest.approx((outer.norm() * q.norm() / e.norm()).item(), rel=1e-5)


@pytest.mark.parametrize("length", [0.0, 1e-30, 1e-8, 1e-3])
def test_the_gradient_near_zero_is_bounded(length: float) -> None:
    e, q, outer = torch.zeros(1, 4), torch.ones(1, 4), torch.ones(1, 4)
    e[0, 0] = length
    inner = gradient(RotationTrick(max_ratio=4.0), e, q, outer)
    assert inner.norm() <= 4.01 * outer.norm()


def test_opposite_vectors_have_a_finite_gradient() -> None:
    q = torch.ones(1, 4)
    inner = gradient(RotationTrick(), -q, q, torch.ones(1, 4))
    assert inner.isfinite().all()
    assert inner.norm() <= 3 * math.sqrt(4)


@pytest.mark.parametrize("max_ratio", [0.5, math.nan, True, "4"])
def test_invalid_ratios_raise(max_ratio: object) -> None:
    with pytest.raises(InputError, match="max_ratio"):
        RotationTrick(max_ratio)  # type: ignore[arg-type]


STRAIGHT_THROUGH = {
    "one dimension": ([[0.3]], [[-0.7]]),
    "one dimension, same sign": ([[0.3]], [[0.7]]),
    "zero vector": ([[0.0, 0.0, 0.0]], [[1.0, 2.0, -1.0]]),
    "zero code": ([[1.0, 2.0, -1.0]], [[0.0, 0.0, 0.0]]),
    "opposite": ([[1.0, 2.0, -1.0]], [[-2.0, -4.0, 2.0]]),
    "almost opposite": ([[1.0, 2.0, -1.0]], [[-2.0, -4.0, 2.0005]]),
}


@pytest.mark.parametrize(("vector", "code"), STRAIGHT_THROUGH.values(), ids=STRAIGHT_THROUGH)
def test_without_a_unique_rotation_the_gradient_is_straight_through(
    vector: list[list[float]], code: list[list[float]]
) -> None:
    e, q = torch.tensor(vector), torch.tensor(code)
    outer = torch.tensor([[0.5, -1.5, 2.0]])[:, : e.shape[1]]
    assert torch.equal(gradient(RotationTrick(), e, q, outer), outer)


def test_training_with_codes_of_one_dimension_approaches_the_target() -> None:
    """A gradient of the wrong sign would lead away from it."""
    torch.manual_seed(0)
    bottleneck = VQ(1, EMACodebook(1, 4, kmeans_steps=0, dead_code_threshold=0.0)).train()
    bottleneck.codebook.initialized.fill_(True)
    bottleneck.codebook.vectors.copy_(torch.tensor([[-0.2], [-3.0], [0.9], [3.0]]))
    z = torch.full((1, 1, 8), 0.3, requires_grad=True)  # nearest to -0.2, whose sign is another
    (bottleneck(z).latents - 1).square().sum().backward()
    assert z.grad is not None
    assert (z.grad < 0).all()
