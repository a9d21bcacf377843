import pytest
import torch
from torch import nn

from narrows.errors import InputError
from narrows.recipes.discriminators.latents import LatentDiscriminator
from narrows.recipes.discriminators.multi_period import MultiPeriodDiscriminator
from narrows.recipes.discriminators.multi_resolution_stft import MultiResolutionSTFTDiscriminator
from narrows.recipes.discriminators.patchgan import PatchGANDiscriminator
from narrows.recipes.losses.adversarial import hinge_discriminator_loss


@pytest.mark.parametrize(
    "discriminators", [MultiPeriodDiscriminator((2, 5), 4), MultiResolutionSTFTDiscriminator((128, 64), 4)]
)
@pytest.mark.parametrize("samples", [997, 1600])
def test_logits_come_last_and_depend_on_the_whole_signal(discriminators: torch.nn.ModuleList, samples: int) -> None:
    x = torch.randn(2, 1, samples, requires_grad=True)
    assert len(discriminators) == 2
    for discriminator in discriminators:
        *features, logits = discriminator(x)
        assert len(features) == 4
        assert logits.shape[:2] == (2, 1)
        (gradient,) = torch.autograd.grad(logits.sum(), x)
        assert (gradient != 0).float().mean() > 0.9


def test_patchgan_has_the_size_and_receptive_field_of_vqgan() -> None:
    discriminator = PatchGANDiscriminator()
    assert sum(p.numel() for p in discriminator.parameters()) == 2_765_633
    discriminator.norms = nn.ModuleList(nn.Identity() for _ in discriminator.norms)  # statistics are of the whole batch
    x = torch.randn(1, 3, 160, 160, requires_grad=True)
    *features, logits = discriminator(x)
    assert [f.shape[1] for f in features] == [64, 128, 256, 512]
    assert logits.shape == (1, 1, 18, 18)
    (gradient,) = torch.autograd.grad(logits[0, 0, 9, 9], x)
    nonzero = gradient.abs().sum((0, 1)).nonzero()
    assert (nonzero.max(0).values - nonzero.min(0).values + 1).tolist() == [70, 70]


@pytest.mark.parametrize("grid", [(1,), (9,), (5, 8), (2, 5, 8)])
def test_the_latent_discriminator_takes_grids_of_any_axes(grid: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    discriminator = LatentDiscriminator(6, len(grid), 4)
    z = torch.randn(2, 6, *grid, requires_grad=True)
    *features, logits = discriminator(z)
    assert len(features) == 5
    assert {feature.shape[2:] for feature in features} == {(6, *grid) if len(grid) == 1 else grid}
    assert logits.shape == (2, 1, *features[0].shape[2:])
    logits.sum().backward()
    assert z.grad is not None
    assert (z.grad != 0).all()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in discriminator.parameters())


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_the_latent_discriminator_learns_to_tell_smoothed_latents(axes: int) -> None:
    """Of equal variance: the discriminator has to see neighbouring positions."""
    torch.manual_seed(0)
    discriminator = LatentDiscriminator(4, axes, 8)
    optimizer = torch.optim.Adam(discriminator.parameters(), 1e-2)
    for _ in range(60):
        real, fake = (torch.randn(16, 4, *(5,) * axes) for _ in range(2))
        fake = (fake + fake.roll(1, -1)) / 2**0.5
        loss = hinge_discriminator_loss([discriminator(real)], [discriminator(fake)])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 1.5


def test_a_latent_discriminator_of_other_grids_is_refused() -> None:
    with pytest.raises(InputError, match="expected latents with 1, 2 or 3 axes, got 4"):
        LatentDiscriminator(6, 4)
