import pytest
import torch

from narrows.codecs.layers.mel import MelSpectra, htk_filters, slaney_filters
from narrows.codecs.layers.reflected import reflected


@pytest.mark.parametrize(("bins", "mels", "rate"), [(513, 100, 24_000), (201, 80, 16_000), (129, 8, 4000)])
def test_filters_are_those_of_torchaudio(bins: int, mels: int, rate: int) -> None:
    torchaudio = pytest.importorskip("torchaudio")
    make = torchaudio.functional.melscale_fbanks
    htk = make(bins, 0.0, float(rate // 2), mels, rate)
    slaney = make(bins, 0.0, rate / 2, mels, rate, "slaney", "slaney")
    torch.testing.assert_close(htk_filters(bins, mels, rate), htk, atol=1e-6, rtol=0)
    torch.testing.assert_close(slaney_filters(bins, mels, rate), slaney, atol=1e-6, rtol=1e-3)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("centred", [True, False])
def test_spectra_are_those_of_torch(power: int, centred: bool) -> None:
    torch.manual_seed(0)
    x, filters = torch.randn(2, 160), torch.rand(33, 5)
    given = x if centred else reflected(x[:, None], 24, 24)[:, 0]
    stft = torch.stft(given, 64, 16, window=torch.hann_window(64), center=centred, return_complex=True)
    expected = (filters.T @ stft.abs() ** power)[..., :10]  # without the frame at the end, if they are centred
    torch.testing.assert_close(MelSpectra(filters, 16, power, centred)(x), expected, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("samples", [16, 32, 160])
@pytest.mark.parametrize("centred", [True, False])
def test_short_signals_have_spectra_too(samples: int, centred: bool) -> None:
    spectra = MelSpectra(torch.rand(33, 5), 16, 1, centred)
    assert spectra(torch.randn(2, samples)).shape == (2, 5, samples // 16)
