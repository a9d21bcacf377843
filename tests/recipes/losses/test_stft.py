import pytest
import torch

from narrows.recipes.losses.stft import ComplexSTFTLoss, MagnitudeSpectrogram, MidSide, MultiResolutionSTFTLoss

LOSSES = [MultiResolutionSTFTLoss(16_000, [(256, 0), (512, 20)]), ComplexSTFTLoss(256)]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_loss_of_equal_signals_is_zero_and_grows_with_noise(loss: torch.nn.Module) -> None:
    torch.manual_seed(0)
    x, noise = torch.randn(2, 1, 4000) * 0.1, torch.randn(2, 1, 4000)
    values = [loss(x + level * noise, x).item() for level in (0, 0.01, 0.1, 1)]
    assert values[0] == pytest.approx(0, abs=1e-6)
    assert values == sorted(values)


def test_only_the_complex_loss_depends_on_phase() -> None:
    x = torch.sin(torch.arange(8000) * 0.3)[None, None]
    magnitude, complex_ = (loss(-x, x).item() for loss in LOSSES)
    assert magnitude == pytest.approx(0, abs=1e-5)
    assert complex_ > 0.05


def test_silence_has_finite_losses_and_gradients() -> None:
    x = torch.zeros(1, 1, 4000, requires_grad=True)
    for loss in LOSSES:
        (gradient,) = torch.autograd.grad(loss(x, torch.zeros_like(x)), x)
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("mels", [0, 40])
def test_magnitude_of_white_noise_is_its_standard_deviation(mels: int) -> None:
    torch.manual_seed(0)
    magnitudes = MagnitudeSpectrogram(512, 16_000, mels)(0.3 * torch.randn(1, 100_000))
    if mels:  # means of magnitudes, which have a Rayleigh distribution
        assert magnitudes.shape[1] == mels
        assert magnitudes.mean().item() == pytest.approx(0.3 * (torch.pi / 4) ** 0.5, rel=0.02)
    else:
        assert magnitudes.square().mean().sqrt().item() == pytest.approx(0.3, rel=0.02)


def test_spectrograms_are_float32_with_autocast() -> None:
    x = torch.randn(2, 4800)
    module = MagnitudeSpectrogram(512, 16_000, 40)
    expected = module(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(module(x), expected)


def test_differences_below_the_floor_count_little() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 1, 4000) * 1e-4
    high, low = (MultiResolutionSTFTLoss(16_000, [(256, 0)], floor)(x, 2 * x).item() for floor in (1e-2, 1e-6))
    assert low > 20 * high > 0


def test_mid_and_side_are_compared_beside_the_channels() -> None:
    seen = []

    class Record(torch.nn.Module):
        def forward(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            seen.append((x, target))
            return (x - target).abs().sum()

    x, target = torch.randn(3, 2, 50), torch.randn(3, 2, 50)
    MidSide(Record())(x, target)
    for given, (left, right) in zip(seen[0], (x.unbind(1), target.unbind(1)), strict=True):
        assert torch.equal(given, torch.stack((left, right, (left + right) / 2, (left - right) / 2), 1))


def test_a_channel_of_opposite_sign_is_heard_in_the_mid() -> None:
    torch.manual_seed(0)
    left, right = torch.randn(2, 1, 4000) * 0.1
    x, turned = torch.stack((left, left + 0.1 * right), 1), torch.stack((left, -left - 0.1 * right), 1)
    assert LOSSES[0](turned, x).item() == pytest.approx(0, abs=1e-5)
    assert MidSide(LOSSES[0])(turned, x).item() > 0.5
    assert MidSide(LOSSES[0])(x, x).item() == 0
