import pytest
import torch

from narrows.codecs.audio.frames import STFT, FrameDecoder, FrameEncoder


def randomized(module: torch.nn.Module) -> torch.nn.Module:
    """Weights of no special values, so that nothing that should matter is hidden by a zero."""
    torch.manual_seed(1)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return module.double().eval()


@pytest.mark.parametrize("frames", [1, 2, 7])
def test_spectra_are_inverted(frames: int) -> None:
    spectra = STFT(16)
    x = torch.randn(2, 16 * frames)
    torch.testing.assert_close(spectra.inverse(spectra(x)), x, atol=1e-5, rtol=0)


def test_spectra_are_those_of_torch() -> None:
    x = torch.randn(1, 16 * 10)
    padded = torch.nn.functional.pad(x, (24, 24))
    window = torch.hann_window(64)
    wanted = torch.stft(padded, 64, 16, window=window, center=False, return_complex=True).transpose(1, 2)
    torch.testing.assert_close(STFT(16)(x), wanted, atol=1e-5, rtol=0)


def changed(before: torch.Tensor, after: torch.Tensor) -> list[int]:
    """Positions of the last axis that differ."""
    return (before != after).flatten(0, -2).any(0).nonzero().flatten().tolist()


@pytest.mark.parametrize("fold", [1, 2, 3])
def test_the_encoder_reaches_as_far_as_it_says_and_no_farther(fold: int) -> None:
    encoder = randomized(FrameEncoder(4, width=12, depth=2, hop=8, fold=fold))
    frames, at = 40, 20
    x = torch.randn(1, 1, frames * encoder.stride).double()
    seen = set()
    for offset in range(encoder.stride):
        other = x.clone()
        other[..., at * encoder.stride + offset] += 10
        seen |= set(changed(encoder(x), encoder(other)))
    assert at - encoder.reach <= min(seen)
    assert max(seen) <= at + encoder.reach
    assert max(at - min(seen), max(seen) - at) == encoder.reach


@pytest.mark.parametrize(("depth", "fold", "rounds"), [(1, 1, 0), (2, 2, 1), (1, 3, 4), (3, 2, 4)])
def test_the_decoder_reaches_as_far_as_it_says_and_no_farther(depth: int, fold: int, rounds: int) -> None:
    decoder = randomized(FrameDecoder(4, width=12, depth=depth, hop=8, fold=fold, iterations=rounds))
    frames, at = 40, 20
    z = torch.randn(1, 4, frames).double()
    other = z.clone()
    other[..., at] += 10
    seen = {sample // decoder.stride for sample in changed(decoder(z), decoder(other))}
    assert at - decoder.reach <= min(seen)
    assert max(seen) <= at + decoder.reach
    assert max(at - min(seen), max(seen) - at) == decoder.reach


def test_every_option_changes_something() -> None:
    x = torch.randn(1, 1, 480)
    base = {"dim": 4, "width": 12, "depth": 1, "hop": 8, "fold": 2}
    shapes = {tuple(FrameEncoder(**(base | change))(x).shape) for change in ({}, {"dim": 5}, {"hop": 16}, {"fold": 3})}
    assert len(shapes) == 4
    sizes = {
        sum(p.numel() for p in FrameDecoder(**(base | change)).parameters())
        for change in ({}, {"dim": 5}, {"width": 14}, {"depth": 2}, {"hop": 16}, {"fold": 3})
    }
    assert len(sizes) == 6


def test_rounds_bring_the_magnitudes_of_the_signal_closer_to_the_predicted() -> None:
    torch.manual_seed(0)
    spectra = STFT(16)
    magnitudes = spectra(torch.randn(1, 16 * 50)).abs()
    start = magnitudes * torch.exp(2j * torch.pi * torch.rand(magnitudes.shape))
    errors = []
    for rounds in (0, 1, 4, 16):
        x = spectra.inverse(spectra.griffin_lim(magnitudes, start, rounds))
        errors.append((spectra(x).abs() - magnitudes).square().mean().item())
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.3 * errors[0]
