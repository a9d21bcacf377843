import numpy as np
import pytest
import torch

from narrows.evaluation.base import NotMeasurable
from narrows.evaluation.metrics import metric
from narrows.media.audio import Audio

SNR, SI_SDR = metric("snr").measure, metric("si-sdr").measure


def test_matches_torchmetrics(voice, noisy):
    from torchmetrics.functional import audio

    x = voice(channels=2)
    y = Audio(noisy(x).samples * 0.7 + 0.05, x.sample_rate)
    target, estimate = (torch.from_numpy(s.samples.astype(np.float64)) for s in (x, y))
    si_sdr = audio.scale_invariant_signal_distortion_ratio(estimate, target, zero_mean=True).mean()
    assert SI_SDR(x, y) == pytest.approx(float(si_sdr), abs=1e-6)
    assert SNR(x, y) == pytest.approx(float(audio.signal_noise_ratio(estimate, target).mean()), abs=1e-6)


def test_known_ratios():
    x = Audio(np.array([[1, -1, 1, -1]], np.float32), 16_000)
    orthogonal = np.array([[0.1, 0.1, -0.1, -0.1]], np.float32)
    assert SNR(x, Audio(x.samples + orthogonal, 16_000)) == pytest.approx(20)
    assert SI_SDR(x, Audio(5 * (x.samples + orthogonal) + 3, 16_000)) == pytest.approx(20, abs=1e-5)


def test_undefined_ratios_have_a_reason(voice):
    x = voice()
    with pytest.raises(NotMeasurable, match=r"^identical$"):
        SNR(x, x)
    for y in (x, Audio(0.5 * x.samples, x.sample_rate)):
        with pytest.raises(NotMeasurable, match="identical up to scale"):
            SI_SDR(x, y)
    constant = Audio(np.full_like(x.samples, 0.1), x.sample_rate)
    for pair in ((x, constant), (constant, x)):
        with pytest.raises(NotMeasurable, match="constant"):
            SI_SDR(*pair)
    tones = [np.array([[1, 0, -1, 0] * 4], np.float32), np.array([[0, 1, 0, -1] * 4], np.float32)]
    with pytest.raises(NotMeasurable, match="uncorrelated with the reference"):
        SI_SDR(*(Audio(tone, 16_000) for tone in tones))
