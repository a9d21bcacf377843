import numpy as np
import pytest
import torch
import torchaudio

from narrows.evaluation.spectra import hann, mel_bank, short_time


@pytest.mark.parametrize("padding", ["reflect", "constant"])
@pytest.mark.parametrize(("size", "hop", "window"), [(512, 128, 512), (1024, 120, 600)])
def test_spectra_are_those_of_torch(size, hop, window, padding, monkeypatch):
    monkeypatch.setattr("narrows.evaluation.spectra.BLOCK", 4 * size)
    x = np.random.default_rng(0).standard_normal(5000)
    blocks = list(short_time(x, hann(window), size, hop, padding))
    assert len(blocks) > 1
    options = {"window": torch.hann_window(window, dtype=torch.float64), "pad_mode": padding, "return_complex": True}
    expected = torch.stft(torch.from_numpy(x), size, hop, window, **options)
    np.testing.assert_allclose(np.concatenate(blocks).T, expected.numpy(), atol=1e-9)


@pytest.mark.parametrize(("rate", "size", "mels"), [(16_000, 1024, 80), (1600, 256, 10)])
def test_mel_bands_are_those_of_torchaudio(rate, size, mels):
    expected = torchaudio.functional.melscale_fbanks(
        size // 2 + 1, 0.0, rate / 2, mels, rate, norm="slaney", mel_scale="slaney"
    )
    np.testing.assert_allclose(mel_bank(rate, size, mels).T, expected.numpy(), atol=1e-5 * float(expected.max()))
