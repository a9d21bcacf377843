import pytest
import torch

from narrows.recipes.losses.adversarial import (
    adaptive_weight,
    feature_matching_loss,
    hinge_discriminator_loss,
    hinge_generator_loss,
    mean_generator_loss,
)


def test_adversarial_losses() -> None:
    real, fake = [[torch.ones(2, 3), torch.full((2, 1), 2.0)]], [[torch.zeros(2, 3), torch.full((2, 1), -2.0)]]
    assert hinge_discriminator_loss(real, fake).item() == 0
    assert hinge_discriminator_loss(fake, real).item() == 6
    assert hinge_generator_loss(fake).item() == 3
    assert mean_generator_loss(fake).item() == 2
    assert feature_matching_loss(real, fake).item() == 1
    assert feature_matching_loss(real, real).item() == 0


def test_adaptive_weight_gives_both_losses_the_same_gradient_norm() -> None:
    torch.manual_seed(0)
    layer = torch.randn(5, 4, requires_grad=True)
    loss, generator_loss = (layer @ torch.randn(4)).square().sum(), 1e-3 * (layer @ torch.randn(4)).exp().sum()
    weight = adaptive_weight(loss, generator_loss, layer)
    first, second = (
        torch.autograd.grad(value, layer, retain_graph=True)[0].norm() for value in (loss, weight * generator_loss)
    )
    assert second.item() == pytest.approx(first.item(), rel=0.05)
    assert not weight.requires_grad
    assert adaptive_weight(loss, 0 * generator_loss, layer) == 1e4
