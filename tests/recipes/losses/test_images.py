import pytest
import torch
from torch import nn

from narrows.recipes.losses.images import LaplacianPyramidLoss


def test_loss_of_equal_images_is_zero_and_grows_with_noise() -> None:
    torch.manual_seed(0)
    loss = LaplacianPyramidLoss()
    x, noise = torch.rand(2, 3, 40, 56) - 0.5, torch.randn(2, 3, 40, 56)
    values = [loss(x + level * noise, x).item() for level in (0, 0.01, 0.1, 0.5)]
    assert values[0] == 0
    assert values == sorted(values)
    flat = torch.zeros(1, 3, 40, 56, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss(flat, x[:1]), flat)
    assert gradient.isfinite().all()


def test_a_difference_counts_relative_to_the_local_contrast() -> None:
    torch.manual_seed(0)
    texture, change = torch.randn(1, 3, 64, 64), 0.05 * torch.randn(1, 3, 64, 64)
    flat = torch.zeros_like(texture)
    l1, pyramid = (
        [loss(x + change, x).item() for x in (flat, texture)] for loss in (nn.L1Loss(), LaplacianPyramidLoss())
    )
    assert l1[0] == pytest.approx(l1[1], rel=1e-3)
    assert pyramid[0] > 2 * pyramid[1]


def test_small_images_have_fewer_levels() -> None:
    loss = LaplacianPyramidLoss(5)
    sizes = {
        shape: [tuple(level.shape[2:]) for level in loss.pyramid(torch.zeros(1, 3, *shape))]
        for shape in ((64, 96), (8, 8))
    }
    assert sizes[64, 96] == [(64, 96), (32, 48), (16, 24), (8, 12), (4, 6)]
    assert sizes[8, 8] == [(8, 8), (4, 4)]
