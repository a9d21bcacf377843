import numpy as np
import pytest

from narrows.evaluation.bands import RADII, THIRD_OCTAVES, audio_distortion_by_band, image_distortion_by_band
from narrows.evaluation.base import NotMeasurable
from narrows.media.audio import Audio
from narrows.media.image import Image

RNG = np.random.default_rng(0)


def tone(frequency, level=0.1, rate=16_000, seconds=1.0):
    time = np.arange(round(rate * seconds)) / rate
    return Audio((level * np.sin(2 * np.pi * frequency * time)).astype(np.float32)[None], rate)


def noise(channels=1, samples=16_000, rate=16_000, level=0.1):
    return Audio(level * RNG.standard_normal((channels, samples), np.float32), rate)


def grating(period, amplitude=60, size=128):
    x = np.mgrid[:size, :size][1]
    return np.repeat((amplitude * np.sin(2 * np.pi * x / period))[None], 3, 0)


def image_of(values):
    return Image((128 + values).round().clip(0, 255).astype(np.uint8))


def test_error_is_in_its_band_of_audio():
    x = noise()
    bands = audio_distortion_by_band(x, Audio(x.samples + tone(3000, 0.05).samples, 16_000))
    assert bands.unit == "Hz"
    found = int(np.argmax(bands.error))
    assert THIRD_OCTAVES[found] < 3000 < THIRD_OCTAVES[found + 1]
    assert bands.error[found] > 0.99 * sum(bands.error)


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_audio_energies_are_power_times_seconds(rate):
    x = tone(1000, 0.1, rate, 2.0)
    y = Audio(x.samples * np.float32(0.9), rate)
    bands = audio_distortion_by_band(x, y)
    assert sum(bands.signal) == pytest.approx(2 * 0.1**2 / 2, rel=0.03)
    assert bands.noise_to_signal[8] == pytest.approx(-20, abs=1e-3)
    assert bands.amount[8] == pytest.approx(2, rel=0.03)


def test_ratios_of_white_noise_and_level_differences():
    x = noise(2, 64_000)
    bands = audio_distortion_by_band(x, Audio(x.samples + 0.1 * noise(2, 64_000).samples, 16_000))
    ratios = [value for value in bands.noise_to_signal if value is not None]
    assert ratios == pytest.approx([-20.0] * len(ratios), abs=1.5)
    quiet = audio_distortion_by_band(x, Audio(0.5 * x.samples, 16_000))
    assert [v for v in quiet.log_spectral_distance if v is not None] == pytest.approx([6.02] * len(ratios), abs=0.01)
    turned = audio_distortion_by_band(x, Audio(-x.samples, 16_000))  # other phases, the same levels
    assert turned.noise_to_signal[10] == pytest.approx(6.02, abs=0.01)
    assert turned.log_spectral_distance[10] == pytest.approx(0, abs=1e-9)


def test_bands_without_bins_have_no_value():
    bands = audio_distortion_by_band(noise(), noise())
    above = [low >= 8000 for low in bands.edges[:-1]]
    assert [value is None for value in bands.log_spectral_distance] == above
    assert [value is None for value in bands.noise_to_signal] == above
    x = noise()
    same = audio_distortion_by_band(x, x)
    assert set(same.noise_to_signal) == {None}
    assert {0.0, None} == set(same.log_spectral_distance)


def test_items_of_different_sample_rates_add_up():
    pairs = [(noise(), noise()), (noise(2, 5000, 48_000), noise(2, 5000, 48_000))]
    first, second = (audio_distortion_by_band(*pair) for pair in pairs)
    both = first + second
    assert both.edges == THIRD_OCTAVES
    energies = [a + b for a, b in zip(first.error, second.error, strict=True)]
    assert both.error == pytest.approx(energies)
    assert both.noise_to_signal[-1] == second.noise_to_signal[-1]
    assert first + second == second + first
    with pytest.raises(ValueError, match="equal band edges"):
        first + image_distortion_by_band(*[image_of(grating(8))] * 2)


@pytest.mark.parametrize("waves", [3, 9, 17, 31])  # in a tile, each in the middle of a ring
def test_error_is_in_its_ring_of_an_image(waves):
    x = image_of(20 * RNG.standard_normal((3, 128, 128)))
    bands = image_distortion_by_band(
        x, Image((x.pixels + grating(64 / waves, 20)).round().clip(0, 255).astype(np.uint8))
    )
    assert bands.unit == "cycles/pixel"
    found = int(np.argmax(bands.error))
    assert RADII[found] < waves / 64 < RADII[found + 1]


def test_image_energies_are_power_times_pixels():
    x, size = image_of(grating(64 / 9, 100, 512)), 512 + 32  # the windows at the borders count whole
    bands = image_distortion_by_band(x, image_of(grating(64 / 9, 50, 512)))
    assert sum(bands.signal[3:6]) == pytest.approx(3 * size**2 * (100 / 255) ** 2 / 2, rel=0.05)
    assert bands.amount[4] == 3 * size**2
    assert bands.noise_to_signal[4] == pytest.approx(-6.02, abs=0.05)
    assert bands.log_spectral_distance[4] == pytest.approx(6.02, abs=0.05)


@pytest.mark.parametrize("shape", [(3, 1, 1), (3, 1, 70), (3, 33, 64)])
def test_small_images(shape):
    x, y = (Image(RNG.integers(0, 256, shape, np.uint8)) for _ in range(2))
    assert np.isfinite(image_distortion_by_band(x, y).noise_to_signal[0])


@pytest.mark.parametrize("length", [1, 2, 300])
def test_short_and_non_finite_audio(length):
    x, y = noise(1, length), noise(1, length)
    assert np.isfinite(audio_distortion_by_band(x, y).noise_to_signal[0])
    with pytest.raises(NotMeasurable, match="not finite"):
        audio_distortion_by_band(x, Audio(y.samples * np.nan, 16_000))
