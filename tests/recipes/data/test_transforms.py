import numpy as np
import pytest
import torch
from torch import Tensor

from narrows.errors import InputError
from narrows.recipes.data import Transform, transform, transform_names

RATE, STRIDE = 16_000, (40,)
AUDIO = [("audio", name) for name in transform_names("audio")]
IMAGE = [("image", name) for name in transform_names("image")]
VIDEO = [("video", name) for name in transform_names("video")]


def made(medium: str, name: str) -> Transform:
    return transform(medium, name, RATE if medium == "audio" else None, STRIDE)


def signals(medium: str) -> list[Tensor]:
    torch.manual_seed(0)
    shapes = {
        "audio": [(1, 1), (1, 4001), (2, 333), (3, 1600)],
        "image": [(3, 1, 1), (3, 5, 7), (1, 16, 24), (4, 31, 33)],
        "video": [(3, 1, 5, 7), (3, 3, 16, 24), (1, 2, 31, 33)],
    }
    return [torch.rand(shape) * 2 - 1 for shape in shapes[medium]]


def tone(frequency: float, samples: int = 8000) -> Tensor:
    return 0.5 * torch.sin(2 * torch.pi * frequency * torch.arange(samples) / RATE)[None]


@pytest.mark.parametrize(("medium", "name"), AUDIO + IMAGE + VIDEO)
def test_a_transform_keeps_the_shape_and_is_deterministic(medium: str, name: str) -> None:
    made_transform, random = made(medium, name), np.random.default_rng(0)
    for x in signals(medium):
        before = x.clone()
        parameters = made_transform.draw(random)
        assert len(parameters) == made_transform.count
        assert all(type(value) is float and -1 <= value <= 1 for value in parameters)
        y = made_transform(x, parameters)
        assert y.shape == x.shape
        assert y.dtype == torch.float32
        assert y.isfinite().all()
        assert torch.equal(x, before)
        assert torch.equal(y, made_transform(x, parameters))
    assert made_transform.draw(np.random.default_rng(3)) == made_transform.draw(np.random.default_rng(3))


@pytest.mark.parametrize(("medium", "name"), AUDIO + IMAGE + VIDEO)
def test_parameters_of_0_change_nothing_and_others_do(medium: str, name: str) -> None:
    made_transform, x = made(medium, name), signals(medium)[1]
    torch.testing.assert_close(made_transform(x, (0.0,) * made_transform.count), x, rtol=0, atol=1e-5)
    for index in range(made_transform.count):
        for value in {"shift": (0.25, -0.25), "flip": (1.0,)}.get(name, (0.7, -0.7)):
            parameters = [0.0] * made_transform.count
            parameters[index] = value
            assert (made_transform(x, parameters) - x).abs().max() > 0.01


@pytest.mark.parametrize(("medium", "name"), AUDIO + IMAGE)
def test_the_channels_and_the_frames_of_video_are_transformed_alike(medium: str, name: str) -> None:
    made_transform, x = made(medium, name), signals(medium)[2]
    parameters = made_transform.draw(np.random.default_rng(1))
    y = made_transform(x, parameters)
    for channel in range(len(x)):
        torch.testing.assert_close(made_transform(x[channel : channel + 1], parameters)[0], y[channel])
    if medium == "image":
        clip = torch.stack([x, x.roll(3, 1)], 1)
        torch.testing.assert_close(made("video", name)(clip, parameters)[:, 0], y)


def test_gain_is_in_decibels_and_does_not_clip() -> None:
    x = tone(440)
    assert made("audio", "gain")(x, (1.0,)).abs().max().item() == pytest.approx(0.5 * 10 ** (12 / 20), rel=1e-3)
    assert made("audio", "gain")(x, (-0.5,)).abs().max().item() == pytest.approx(0.5 * 10 ** (-6 / 20), rel=1e-3)


@pytest.mark.parametrize("gain", [-1.0, 1.0])
@pytest.mark.parametrize(("band", "frequency"), [(0, 20), (1, 500), (2, 1500), (3, 7900)])
def test_each_band_of_the_equalizer_amplifies_its_frequencies_by_12_decibels(
    gain: float, band: int, frequency: float
) -> None:
    equalizer, parameters = made("audio", "equalizer"), [0.0] * 4
    parameters[band] = gain
    for other in (20.0, 500.0, 1500.0, 7900.0):
        x = tone(other)
        ratio = equalizer(x, parameters)[:, 4000:].square().mean() / x[:, 4000:].square().mean()
        decibels = 10 * ratio.log10().item()
        assert decibels * gain == pytest.approx(12, abs=0.3) if other == frequency else abs(decibels) < 4


def test_the_equalizer_is_linear_where_torchaudio_would_clip() -> None:
    equalizer, x = made("audio", "equalizer"), signals("audio")[1]
    loud = equalizer(x, (1.0,) * 4)
    assert loud.abs().max() > 2
    torch.testing.assert_close(loud, 8 * equalizer(x / 8, (1.0,) * 4), rtol=1e-4, atol=1e-5)
    assert transform("audio", "equalizer", 6000, STRIDE)(x, (0.0, 0.0, 0.0, 1.0)).isfinite().all()


@pytest.mark.parametrize("semitones", [-3.0, -0.4, 1.0, 3.0])
def test_pitch_moves_a_tone_and_keeps_the_time(semitones: float) -> None:
    x = tone(1000, 16_001)
    x[:, 8000:] = 0  # the second half is silent
    y = made("audio", "pitch")(x, (semitones / 3,))
    spectrum = torch.fft.rfft(y[0, :8000]).abs()
    expected = 1000 * 2 ** (semitones / 12)
    assert spectrum.argmax().item() * RATE / 8000 == pytest.approx(expected, abs=3)
    assert y[:, 1000:7000].square().mean() == pytest.approx(x[:, 1000:7000].square().mean().item(), rel=0.2)
    assert y[:, 9000:].abs().max() < 0.01


def test_shift_is_by_whole_latent_frames() -> None:
    shift, x = made("audio", "shift"), signals("audio")[3]
    later, earlier = shift(x, (3 / 8,)), shift(x, (-1.0,))
    assert torch.equal(later[:, 120:], x[:, :-120])
    assert not later[:, :120].any()
    assert torch.equal(earlier[:, :-320], x[:, 320:])
    assert not earlier[:, -320:].any()
    assert not shift(x[:, :100], (1.0,)).any()
    drawn = {shift.draw(np.random.default_rng(seed))[0] * 8 for seed in range(200)}
    assert drawn == set(range(-8, 9))


def encoded(x: Tensor, axes: int) -> Tensor:
    """Latents that are exactly equivariant, without a codec: averages of the blocks of a signal, and of squares."""
    pooled = [
        torch.nn.functional.avg_pool1d(v, 40) if axes == 1 else torch.nn.functional.avg_pool2d(v, 4)
        for v in (x, x.square())
    ]
    return torch.cat(pooled)


@pytest.mark.parametrize(("medium", "name"), [("audio", "shift"), ("image", "flip"), ("video", "flip")])
def test_known_transforms_of_latents_are_those_of_the_signal(medium: str, name: str) -> None:
    made_transform, random = made(medium, name), np.random.default_rng(0)
    assert made_transform.is_known
    x = torch.rand({"audio": (2, 40 * 21), "image": (3, 16, 24), "video": (3, 2, 16, 24)}[medium])
    encode = (lambda v: encoded(v, 1)) if medium == "audio" else (lambda v: encoded(v.flatten(0, -3), 2))
    for _ in range(8):
        parameters = made_transform.draw(random)
        y = encode(x)
        expected = encode(made_transform(x, parameters))
        torch.testing.assert_close(made_transform.latent(y, parameters), expected)
        assert torch.equal(made_transform.latent(y[None], parameters)[0], made_transform.latent(y, parameters))  # type: ignore[index]


@pytest.mark.parametrize(("medium", "name"), AUDIO + IMAGE)
def test_other_transforms_of_latents_have_to_be_learned(medium: str, name: str) -> None:
    made_transform = made(medium, name)
    latents = made_transform.latent(torch.rand(4, 9, 9), (0.0,) * made_transform.count)
    assert (latents is not None) == made_transform.is_known == (name in ("shift", "flip"))


def test_blur_keeps_the_mean_and_has_the_standard_deviation_of_its_parameter() -> None:
    blur = made("image", "blur")
    x = torch.zeros(1, 41, 41)
    x[0, 20, 20] = 1
    places = torch.arange(41) - 20.0
    for parameter in (0.4, -0.4, 0.8):
        y = blur(x, (parameter,))[0]
        assert y.sum().item() == pytest.approx(1, abs=1e-5)
        for axis in (0, 1):
            deviation = (y.sum(axis) * places.square()).sum().sqrt()
            assert deviation.item() == pytest.approx(3 * abs(parameter), rel=0.02)


def test_flip_and_brightness() -> None:
    x = signals("image")[1]
    assert torch.equal(made("image", "flip")(x, (1.0, 0.0)), x.flip(-1))
    assert torch.equal(made("image", "flip")(x, (0.0, 1.0)), x.flip(-2))
    assert torch.equal(made("image", "brightness")(x, (-1.0,)), x - 0.5)


def test_wrong_names_and_parameters_are_refused() -> None:
    cases = [
        (lambda: transform("audio", "gian", RATE, STRIDE), "did you mean 'gain'"),
        (lambda: transform("image", "gain", None, STRIDE), "expected a transform of image of flip, brightness, blur"),
        (lambda: transform("sound", "gain", RATE, STRIDE), "expected a medium of audio, image, video, got 'sound'"),
        (lambda: transform("audio", "equalizer", None, STRIDE), "expected the sample rate"),
        (lambda: made("audio", "gain")(tone(100), (0.0, 0.0)), "expected 1 parameters of gain"),
        (lambda: made("audio", "gain")(tone(100), (float("nan"),)), "expected 1 parameters of gain"),
        (lambda: made("image", "flip").latent(torch.rand(2, 4, 4), (1.5, 0.0)), r"in \[-1, 1\], got \[1.5, 0\]"),
    ]
    for call, message in cases:
        with pytest.raises(InputError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
