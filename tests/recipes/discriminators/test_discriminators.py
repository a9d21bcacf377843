import pytest
import torch
from torch import nn

from narrows.recipes.discriminators.multi_period import MultiPeriodDiscriminator
from narrows.recipes.discriminators.multi_resolution_stft import MultiResolutionSTFTDiscriminator
from narrows.recipes.discriminators.patchgan import PatchGANDiscriminator


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
