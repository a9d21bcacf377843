import pytest
import torch
from torch import Tensor

from narrows.codecs import FrameDecoder
from narrows.recipes.losses.frames import FrameMagnitudeLoss, PhaseConsistencyLoss


def test_loss_of_an_exact_prediction_is_zero() -> None:
    decoder, loss = FrameDecoder(4, 8, 1), FrameMagnitudeLoss()
    x = torch.randn(1, 1, 5 * decoder.stride[0]) * 0.1
    exact = decoder.stft(x[:, 0])  # (B, frames, bins)
    decoder.predict = lambda z: (exact.abs(), exact)  # type: ignore[method-assign]
    assert loss(decoder, torch.zeros(1, 4, 5), x).item() == pytest.approx(0, abs=1e-6)


def predicting(magnitudes: Tensor, spectra: Tensor, channels: int = 1) -> FrameDecoder:
    """A decoder that predicts this."""
    decoder = FrameDecoder(4, 8, 1, channels=channels)
    decoder.predict = lambda z: (magnitudes, spectra)  # type: ignore[method-assign]
    return decoder


def test_magnitudes_below_the_floor_count_little() -> None:
    x = torch.randn(1, 1, 320 * 5) * 1e-5
    exact = FrameDecoder(4, 8, 1).stft(x[:, 0])
    losses = [
        FrameMagnitudeLoss(floor)(predicting(exact.abs() * 0, exact * 0), torch.zeros(1, 4, 5), x)
        for floor in (1e-3, 1e-6)
    ]
    assert losses[1] > 20 * losses[0] > 0


@pytest.mark.parametrize("channels", [1, 2])
def test_phases_are_the_better_the_smaller_the_loss(channels: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, channels, 320 * 8) * 0.1
    spectra = FrameDecoder(4, 8, 1).stft(x.flatten(0, 1)).unflatten(0, (2, channels)).transpose(1, 2).flatten(2)
    noise = torch.rand(spectra.shape) * 2 - 1
    losses = []
    for error in (0.0, 0.2, 0.5, 1.0):
        turned = spectra * torch.exp(1j * torch.pi * error * noise)
        decoder = predicting(spectra.abs(), turned, channels)
        losses.append(PhaseConsistencyLoss()(decoder, torch.zeros(2, 4, 8), x).item())
    assert losses[0] == pytest.approx(0, abs=1e-4)
    assert losses == sorted(losses)
    assert 0.2 < losses[-1] < 2


def test_no_gradient_of_the_phase_loss_reaches_magnitudes() -> None:
    torch.manual_seed(0)
    decoder = FrameDecoder(4, 8, 1)
    torch.nn.init.normal_(decoder.linear.bias, -10, 8)  # some far below the limit
    loss = PhaseConsistencyLoss(4)(decoder, torch.randn(2, 4, 6), torch.zeros(2, 1, 320 * 6))
    loss.backward()
    assert decoder.linear.bias.grad is not None
    assert decoder.out.bias.grad is not None
    phases = decoder.out.bias.grad[decoder.sizes[0] :]
    assert phases.abs().max() > 1e-5
    assert decoder.linear.bias.grad.abs().max() < 1e-5 * phases.abs().max()


def test_the_phase_loss_of_silence_is_finite() -> None:
    silence = torch.zeros(1, 10, 321)
    decoder = predicting(silence, torch.complex(silence, silence))
    assert PhaseConsistencyLoss()(decoder, torch.zeros(1, 4, 5), torch.zeros(1, 1, 1600)).item() == 0


def test_bins_below_the_limit_have_no_phases() -> None:
    torch.manual_seed(0)
    magnitudes = torch.full((1, 10, 321), 1e-6, requires_grad=True)
    decoder = predicting(magnitudes, torch.polar(magnitudes, torch.rand(1, 10, 321)))
    loss = PhaseConsistencyLoss(4)(decoder, torch.zeros(1, 4, 5), torch.zeros(1, 1, 1600))
    (gradient,) = torch.autograd.grad(loss, magnitudes)
    assert gradient.abs().max() == 0
