import torch

from narrows.codecs.layers.density import Density


def test_probability_at_the_centre_of_a_symmetric_density() -> None:
    density = Density(2)
    with torch.no_grad():
        for bias in density.biases:
            bias.zero_()
        x = torch.arange(-3.0, 4.0).expand(1, 2, 7)
        p = density(x)
        low, high = (density.logits(x.movedim(1, 0) + half).sigmoid() for half in (-0.5, 0.5))
    assert p[0, 0].argmax() == 3
    torch.testing.assert_close(p, (high - low).movedim(0, 1))
    torch.testing.assert_close(p, p.flip(2))


def test_probabilities_of_all_integers_sum_to_one() -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        p = Density(3, spread=3.0)(torch.arange(-400.0, 401.0).expand(1, 3, 801))
    torch.testing.assert_close(p.sum(2), torch.ones(1, 3), atol=1e-4, rtol=0)
