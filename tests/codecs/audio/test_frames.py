import pytest
import torch

from narrows.codecs.audio.frames import STFT


@pytest.mark.parametrize("frames", [1, 2, 7])
def test_spectra_are_inverted(frames: int) -> None:
    stft = STFT(16)
    x = torch.randn(2, 16 * frames)
    torch.testing.assert_close(stft.inverse(stft(x)), x, atol=1e-5, rtol=0)


def test_spectra_are_those_of_torch() -> None:
    x = torch.randn(1, 16 * 10)
    padded = torch.nn.functional.pad(x, (24, 24))
    window = torch.hann_window(64)
    wanted = torch.stft(padded, 64, 16, window=window, center=False, return_complex=True).transpose(1, 2)
    torch.testing.assert_close(STFT(16)(x), wanted, atol=1e-5, rtol=0)


def test_griffin_lim_brings_magnitudes_closer_to_the_predicted() -> None:
    torch.manual_seed(0)
    stft = STFT(16)
    magnitudes = stft(torch.randn(1, 16 * 50)).abs()
    start = magnitudes * torch.exp(2j * torch.pi * torch.rand(magnitudes.shape))
    errors = []
    for iterations in (0, 1, 4, 16):
        x = stft.inverse(stft.griffin_lim(magnitudes, start, iterations))
        errors.append((stft(x).abs() - magnitudes).square().mean().item())
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.3 * errors[0]
