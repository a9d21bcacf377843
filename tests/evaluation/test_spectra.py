import numpy as np
import pytest
import torch

from narrows.evaluation.spectra import hann, mel_filters, stft


@pytest.mark.parametrize("padding", ["reflect", "constant"])
@pytest.mark.parametrize(("size", "hop", "window"), [(512, 128, 512), (1024, 120, 600)])
def test_stft_matches_torch(size, hop, window, padding, monkeypatch):
    monkeypatch.setattr("narrows.evaluation.spectra.BLOCK", 4 * size)
    x = np.random.default_rng(0).standard_normal(5000)
    blocks = list(stft(x, hann(window), size, hop, padding))
    assert len(blocks) > 1
    options = {"window": torch.hann_window(window, dtype=torch.float64), "pad_mode": padding, "return_complex": True}
    expected = torch.stft(torch.from_numpy(x), size, hop, window, **options)
    np.testing.assert_allclose(np.concatenate(blocks).T, expected.numpy(), atol=1e-9)


def slaney_filters(rate, size, mels):
    """Weights (size / 2 + 1, mels) by the formula of Slaney's Auditory Toolbox, as librosa computes them, in float64.

    Mel is 3 / 200 of the frequency up to 1 kHz and logarithmic above, 27 mel per factor of 6.4.
    """
    top = rate / 2
    highest = top * 3 / 200 if top < 1000 else 15 + 27 * np.log(top / 1000) / np.log(6.4)
    steps = np.linspace(0, highest, mels + 2)
    edges = np.where(steps < 15, steps * 200 / 3, 1000 * 6.4 ** ((steps - 15) / 27))  # Hz
    bins = np.fft.rfftfreq(size, 1 / rate)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.minimum(rising, falling).clip(min=0) * 2 / (edges[2:] - edges[:-2])


@pytest.mark.parametrize(("rate", "size", "mels"), [(16_000, 1024, 80), (1600, 256, 10), (16_000, 32, 5)])
def test_mel_filters_match_slaneys_formula(rate, size, mels):
    expected = slaney_filters(rate, size, mels)
    np.testing.assert_allclose(mel_filters(rate, size, mels), expected, atol=1e-5 * expected.max())
