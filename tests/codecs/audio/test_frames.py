import pytest
import torch

from narrows.codecs.audio.frames import STFT, FrameDecoder, FrameEncoder
from narrows.errors import InputError


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


@pytest.mark.parametrize("channels", [1, 2])
def test_without_phases_latents_do_not_depend_on_them(channels: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, channels, 64 * 6)
    for phases in (True, False):
        encoder = FrameEncoder(8, 16, 1, hop=32, channels=channels, phases=phases)
        bins = channels * 2 * 65
        assert encoder.embed.in_features == (3 * bins if phases else bins)
        torch.nn.init.normal_(encoder.out.weight)
        close = torch.allclose(encoder(-x), encoder(x), atol=1e-5)
        assert close is not phases


def test_the_floor_hides_weaker_bins() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 1, 64 * 6) * 1e-4
    ranges = []
    for floor in (1e-2, 1e-12):
        encoder = FrameEncoder(8, 16, 1, hop=32, floor=floor)
        logs = encoder.log_magnitudes(encoder.spectra(x))
        ranges.append((logs.max() - logs.min()).item())
    assert ranges[0] < 0.01 < 1 < ranges[1]
    for wrong in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(InputError, match="floor"):
            FrameEncoder(8, 16, 1, floor=wrong)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_spectra_by_channel_are_those_of_each_channel(channels: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, channels, 64 * 6)
    encoder = FrameEncoder(8, 16, 1, hop=32, channels=channels)
    decoder = FrameDecoder(8, 16, 1, hop=32, iterations=0, channels=channels)
    spectra = encoder.spectra(x)
    magnitudes, split = decoder.by_channel(spectra.abs(), spectra)
    assert torch.equal(split, encoder.stft(x.transpose(0, 1).flatten(0, 1)))
    assert torch.equal(magnitudes, split.abs())
    decoder.predict = lambda z: (spectra.abs(), spectra)  # type: ignore[method-assign]
    torch.testing.assert_close(decoder(torch.zeros(2, 8, 6)), x, atol=1e-5, rtol=0)


def test_all_channels_start_with_the_same_phases() -> None:
    torch.manual_seed(0)
    decoder = FrameDecoder(8, 16, 1, hop=32, iterations=0, channels=2)
    magnitudes, spectra = decoder.by_channel(*decoder.predict(torch.randn(1, 8, 6)))
    left, right = spectra / magnitudes
    torch.testing.assert_close(left, right, atol=1e-4, rtol=0)
    assert not torch.allclose(*magnitudes)
