import pytest
import torch

from narrows.recipes.discriminators.periods import MultiPeriodDiscriminator
from narrows.recipes.discriminators.spectra import MultiSpectrumDiscriminator


@pytest.mark.parametrize(
    "discriminators", [MultiPeriodDiscriminator((2, 5), 4), MultiSpectrumDiscriminator((128, 64), 4)]
)
@pytest.mark.parametrize("samples", [997, 1600])
def test_scores_come_last_and_depend_on_the_signal(discriminators: torch.nn.ModuleList, samples: int) -> None:
    x = torch.randn(2, 1, samples, requires_grad=True)
    assert len(discriminators) == 2
    for discriminator in discriminators:
        *features, scores = discriminator(x)
        assert len(features) == 4
        assert scores.shape[:2] == (2, 1)
        (gradient,) = torch.autograd.grad(scores.sum(), x)
        assert (gradient != 0).float().mean() > 0.9
