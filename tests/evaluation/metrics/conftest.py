import numpy as np
import pytest

from narrows.media.audio import Audio
from narrows.media.image import Image


@pytest.fixture(scope="session")
def voice():
    """voice(seconds, rate, channels) -> audio with the harmonics and syllables of a voice."""

    def make(seconds=2.0, rate=16_000, channels=1):
        time = np.arange(round(seconds * rate)) / rate
        carrier = sum(np.sin(2 * np.pi * 140 * k * time + k) / k for k in range(1, 20))
        syllables = np.sin(2 * np.pi * 1.5 * time).clip(0) ** 0.5
        noise = np.random.default_rng(0).standard_normal((channels, len(time)))
        return Audio((0.1 * carrier * syllables + 0.003 * noise).astype(np.float32), rate)

    return make


@pytest.fixture(scope="session")
def noisy():
    """noisy(signal, amount, seed) -> the signal with Gaussian noise of standard deviation `amount` of full scale."""

    def make(signal, amount=0.01, seed=1):
        rng = np.random.default_rng(seed)
        if isinstance(signal, Audio):
            noise = amount * rng.standard_normal(signal.samples.shape, np.float32)
            return Audio(signal.samples + noise, signal.sample_rate)
        noise = 255 * amount * rng.standard_normal(signal.pixels.shape)
        return signal.with_array((signal.pixels + noise).round().clip(0, 255).astype(np.uint8))

    return make


@pytest.fixture(scope="session")
def photo():
    """photo(height, width) -> an image with gradients, edges and noise."""

    def make(height=176, width=200):
        y, x = np.mgrid[:height, :width]
        planes = [120 + 60 * np.sin(x / (7 + 5 * c)) + 40 * (y > height / 2) * np.cos(y / 3 + c) for c in range(3)]
        grain = 6 * np.random.default_rng(0).standard_normal((height, width, 3)).transpose(2, 0, 1)
        return Image((np.stack(planes) + grain).round().clip(0, 255).astype(np.uint8))

    return make
