import pytest
import torch

from narrows.codecs.layers.resample import Resample


@pytest.mark.parametrize(("rate", "to"), [(24_000, 16_000), (16_000, 24_000), (44_100, 16_000), (16_000, 16_000)])
@pytest.mark.parametrize("samples", [1, 480, 1001])
def test_it_is_that_of_torchaudio(rate: int, to: int, samples: int) -> None:
    torchaudio = pytest.importorskip("torchaudio")
    torch.manual_seed(0)
    x = torch.randn(2, 3, samples)
    expected = torchaudio.functional.resample(x, rate, to)
    torch.testing.assert_close(Resample(rate, to)(x), expected, atol=5e-5, rtol=0)


def test_the_reach() -> None:
    resample = Resample(24_000, 16_000)
    x = torch.zeros(1, 1, 300, dtype=torch.float64)
    x[..., 150] = 1
    seen = resample(x)[0, 0].nonzero() * 1.5 - 150
    assert -resample.reach <= seen.min() < -resample.reach + 2
    assert resample.reach - 2 < seen.max() <= resample.reach
