import numpy as np
import pytest
import torch
import torchaudio

from narrows.evaluation.base import NotMeasurable
from narrows.evaluation.metrics import metric
from narrows.media.audio import Audio


@pytest.fixture(scope="module")
def pair(voice, noisy):
    x = voice(0.5, channels=2)
    return x, noisy(x)


def direct(recording, size, hop, window):
    """Magnitudes (C, frames, bins) of a recording, by the DFT matrix."""
    hann = np.zeros(size)
    start = (size - window) // 2
    hann[start : start + window] = np.sin(np.pi * np.arange(window) / window) ** 2
    padded = np.pad(recording.samples.astype(np.float64), ((0, 0), (size // 2, size // 2)), mode="reflect")
    frames = np.stack([padded[:, i : i + size] * hann for i in range(0, padded.shape[1] - size + 1, hop)], 1)
    transform = np.exp(-2j * np.pi * np.outer(np.arange(size), np.arange(size // 2 + 1)) / size)
    return np.abs(frames @ transform)


def test_stft_distance_matches_its_definition(pair):
    expected = 0.0
    for size, hop, window in ((512, 50, 240), (1024, 120, 600), (2048, 240, 1200)):
        x, y = (direct(recording, size, hop, window).clip(min=1e-4) for recording in pair)
        convergence = np.linalg.norm(x - y, axis=(1, 2)) / np.linalg.norm(x, axis=(1, 2))
        expected += (convergence + np.abs(np.log(x) - np.log(y)).mean((1, 2))).mean() / 3
    assert metric("stft-distance").measure(*pair) == pytest.approx(expected, abs=1e-6)


def test_stft_distance_matches_auraloss(pair):
    import auraloss

    x, y = (torch.from_numpy(recording.samples[:1].astype(np.float64))[None] for recording in pair)
    expected = float(auraloss.freq.MultiResolutionSTFTLoss()(y, x))
    first = [Audio(recording.samples[:1], recording.sample_rate) for recording in pair]
    assert metric("stft-distance").measure(*first) == pytest.approx(expected, abs=1e-6)


@pytest.mark.filterwarnings("ignore:At least one mel filterbank")  # some filters lie between two bins
def test_mel_distance_matches_its_definition(pair):
    expected = 0.0
    for scale in range(7):
        window, mels = 32 << scale, 5 << scale
        bank = torchaudio.functional.melscale_fbanks(
            window // 2 + 1, 0.0, 8000.0, mels, 16_000, norm="slaney", mel_scale="slaney"
        ).double()
        x, y = (torch.from_numpy(direct(recording, window, window // 4, window)) @ bank for recording in pair)
        expected += float((x.clamp(1e-5).log10() - y.clamp(1e-5).log10()).abs().mean())
    assert metric("mel-distance").measure(*pair) == pytest.approx(expected, abs=1e-6)


def test_mel_level_difference_is_a_ratio_in_decibels(voice):
    x = voice(1)
    assert metric("mel-level-difference").measure(x, x) == 0
    louder = Audio(x.samples * np.float32(10**0.05), x.sample_rate)
    assert metric("mel-level-difference").measure(x, louder) == pytest.approx(1, abs=1e-3)
    faint = [Audio(x.samples * np.float32(scale), x.sample_rate) for scale in (1e-6, 1e-7)]  # both below the floor
    assert metric("mel-level-difference").measure(*faint) == 0


@pytest.mark.parametrize("name", ["mel-distance", "stft-distance"])
def test_too_short_audio_is_undefined(name, voice):
    x = voice(1024 / 16_000)
    with pytest.raises(NotMeasurable, match="shorter than 1025 samples"):
        metric(name).measure(x, x)
    x = voice(1025 / 16_000)
    assert metric(name).measure(x, x) == 0


def test_block_size_does_not_change_the_value(voice, noisy, monkeypatch):
    x = voice(1)
    names = ("mel-distance", "stft-distance", "mel-level-difference")
    whole = [metric(name).measure(x, noisy(x)) for name in names]
    monkeypatch.setattr("narrows.evaluation.spectra.BLOCK", 1 << 12)
    assert [metric(name).measure(x, noisy(x)) for name in names] == pytest.approx(whole)
