import pytest
import torch

from narrows.codecs import FrameDecoder
from narrows.recipes.losses.adversarial import balance, discriminator_loss, feature_loss, generator_loss, unbounded_loss
from narrows.recipes.losses.frames import FrameMagnitudes
from narrows.recipes.losses.images import PixelDistance, PyramidDistance
from narrows.recipes.losses.spectral import ComplexDistance, SpectralDistance, Spectrogram

DISTANCES = [SpectralDistance(16_000, [(256, 0), (512, 20)]), ComplexDistance(256)]


@pytest.mark.parametrize("distance", DISTANCES)
def test_a_distance_is_zero_for_the_same_and_grows_with_noise(distance: torch.nn.Module) -> None:
    torch.manual_seed(0)
    x, noise = torch.randn(2, 1, 4000) * 0.1, torch.randn(2, 1, 4000)
    values = [distance(x + level * noise, x).item() for level in (0, 0.01, 0.1, 1)]
    assert values[0] == pytest.approx(0, abs=1e-6)
    assert values == sorted(values)


def test_only_the_complex_distance_hears_the_phase() -> None:
    x = torch.sin(torch.arange(8000) * 0.3)[None, None]
    spectral, waveform = (distance(-x, x).item() for distance in DISTANCES)
    assert spectral == pytest.approx(0, abs=1e-5)
    assert waveform > 0.05


def test_a_silent_signal_has_finite_losses_and_gradients() -> None:
    x = torch.zeros(1, 1, 4000, requires_grad=True)
    for distance in DISTANCES:
        (gradient,) = torch.autograd.grad(distance(x, torch.zeros_like(x)), x)
        assert torch.isfinite(gradient).all()


def test_white_noise_has_its_deviation_as_magnitude() -> None:
    torch.manual_seed(0)
    magnitudes = Spectrogram(512, 16_000)(0.3 * torch.randn(1, 100_000))
    assert magnitudes.square().mean().sqrt().item() == pytest.approx(0.3, rel=0.02)


def test_the_frame_loss_is_zero_where_the_prediction_is_right() -> None:
    decoder, loss = FrameDecoder(4, 8, 1), FrameMagnitudes()
    x = torch.randn(1, 1, 5 * decoder.stride) * 0.1
    true = decoder.spectra(x[:, 0])
    decoder.predict = lambda z: (true.abs(), true)  # type: ignore[method-assign]
    assert loss(decoder, torch.zeros(1, 4, 5), x).item() == pytest.approx(0, abs=1e-6)


def test_adversarial_losses() -> None:
    real, fake = [[torch.ones(2, 3), torch.full((2, 1), 2.0)]], [[torch.zeros(2, 3), torch.full((2, 1), -2.0)]]
    assert discriminator_loss(real, fake).item() == 0
    assert discriminator_loss(fake, real).item() == 6
    assert generator_loss(fake).item() == 3
    assert feature_loss(real, fake).item() == 1
    assert feature_loss(real, real).item() == 0
    assert unbounded_loss(fake).item() == 2


def test_the_balance_makes_two_losses_move_a_weight_alike() -> None:
    torch.manual_seed(0)
    weight = torch.randn(5, 4, requires_grad=True)
    loss, other = (weight @ torch.randn(4)).square().sum(), 1e-3 * (weight @ torch.randn(4)).exp().sum()
    pull = balance(loss, other, weight)
    ours, theirs = (torch.autograd.grad(value, weight, retain_graph=True)[0].norm() for value in (loss, pull * other))
    assert theirs.item() == pytest.approx(ours.item(), rel=0.05)
    assert not pull.requires_grad
    assert balance(loss, 0 * other, weight) == 1e4


@pytest.mark.parametrize("distance", [PixelDistance(), PyramidDistance()])
def test_a_distance_of_pictures_is_zero_for_the_same_and_grows_with_noise(distance: torch.nn.Module) -> None:
    torch.manual_seed(0)
    x, noise = torch.rand(2, 3, 40, 56) - 0.5, torch.randn(2, 3, 40, 56)
    values = [distance(x + level * noise, x).item() for level in (0, 0.01, 0.1, 0.5)]
    assert values[0] == 0
    assert values == sorted(values)
    flat = torch.zeros(1, 3, 40, 56, requires_grad=True)
    (gradient,) = torch.autograd.grad(distance(flat, x[:1]), flat)
    assert gradient.isfinite().all()


def test_only_the_pyramid_counts_a_difference_by_its_surroundings() -> None:
    torch.manual_seed(0)
    texture, change = torch.randn(1, 3, 64, 64), 0.05 * torch.randn(1, 3, 64, 64)
    flat = torch.zeros_like(texture)
    pixels, pyramid = ([d(x + change, x).item() for x in (flat, texture)] for d in (PixelDistance(), PyramidDistance()))
    assert pixels[0] == pytest.approx(pixels[1], rel=1e-3)
    assert pyramid[0] > 2 * pyramid[1]


def test_a_pyramid_stops_where_a_picture_is_too_small() -> None:
    distance = PyramidDistance(5)
    sizes = {
        shape: [tuple(level.shape[2:]) for level in distance.pyramid(torch.zeros(1, 3, *shape))]
        for shape in ((64, 96), (8, 8))
    }
    assert sizes[64, 96] == [(64, 96), (32, 48), (16, 24), (8, 12), (4, 6)]
    assert sizes[8, 8] == [(8, 8), (4, 4)]
