import pytest
import torch

from narrows.recipes.discriminators.patches import PatchDiscriminator
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


def test_the_patch_discriminator_is_that_of_vqgan() -> None:
    """As many weights as theirs, and scores of 70 × 70 pixels each."""
    judge = PatchDiscriminator()
    assert sum(p.numel() for p in judge.parameters()) == 2_765_633
    judge.eval()
    x = torch.randn(1, 3, 160, 160, requires_grad=True)
    *features, scores = judge(x)
    assert [f.shape[1] for f in features] == [64, 128, 256, 512]
    assert scores.shape == (1, 1, 18, 18)
    (gradient,) = torch.autograd.grad(scores[0, 0, 9, 9], x)
    seen = gradient.abs().sum((0, 1)).nonzero()
    assert (seen.max(0).values - seen.min(0).values + 1).tolist() == [70, 70]
