import pytest
import torch
from torch import nn

from narrows.codecs.layers.alias_free import REACH, AliasFree, alias_free_snake, low_pass_filter


def test_the_filter_halves_the_band() -> None:
    response = torch.fft.rfft(low_pass_filter(), 256).abs()
    assert response[0] == pytest.approx(1)
    assert response[64] == pytest.approx(0.5, abs=0.02)
    assert response[-1] < 0.002


def test_slow_signals_pass() -> None:
    x = torch.sin(torch.arange(400) / 30)[None, None]
    torch.testing.assert_close(AliasFree(nn.Identity())(x)[..., 20:-20], x[..., 20:-20], atol=2e-3, rtol=0)


@pytest.mark.parametrize("samples", [1, 2, 3, 40])
def test_it_is_that_of_bigcodec(samples: int) -> None:
    modules = pytest.importorskip("bigcodec.modules")
    torch.manual_seed(0)
    reference = modules.Activation1d(modules.SnakeBeta(5, alpha_logscale=True))
    for parameter in reference.parameters():
        nn.init.normal_(parameter)
    layer = alias_free_snake(5)
    state = {key: value.view(1, -1, 1) for key, value in reference.state_dict().items() if "filter" not in key}
    assert layer.load_state_dict(state)
    x = torch.randn(2, 5, samples)
    torch.testing.assert_close(layer(x), reference(x))


def test_the_reach() -> None:
    layer = alias_free_snake(3).double()
    x = torch.randn(1, 3, 41, dtype=torch.float64)
    other = x.clone()
    other[..., 20] += 1
    changed = (layer(x) != layer(other)).any(1).nonzero()[:, 1]
    assert (int(changed.min()), int(changed.max())) == (20 - REACH, 20 + REACH)
