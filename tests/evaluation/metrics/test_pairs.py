import numpy as np
import pytest
import soxr

from narrows.errors import InputError
from narrows.evaluation.base import NotMeasurable
from narrows.evaluation.metrics.pairs import image_pair, mean_of_channels
from narrows.media.audio import Audio
from narrows.media.image import Image

PICTURE = Image(np.zeros((3, 4, 6), np.uint8))


def test_mean_over_channels_at_another_sample_rate(voice, noisy):
    x = voice(0.2, 44_100, channels=2)
    y = noisy(x)
    seen = []

    def measure(a, b, rate):
        seen.append((a, b, rate))
        return float(len(seen))

    assert mean_of_channels(x, y, measure, 16_000) == 1.5
    for (a, b, rate), original, decoded in zip(seen, x.samples, y.samples, strict=True):
        assert rate == 16_000
        np.testing.assert_allclose(a, soxr.resample(original, 44_100, 16_000, quality="VHQ"), atol=1e-6)
        np.testing.assert_allclose(b, soxr.resample(decoded, 44_100, 16_000, quality="VHQ"), atol=1e-6)
    assert mean_of_channels(x, y, lambda a, b, rate: rate) == 44_100


def test_incompatible_signals_are_rejected(voice):
    x = voice(0.1)
    for other in (
        Audio(x.samples, 8000),
        Audio(x.samples[:, 1:], x.sample_rate),
        Audio(x.samples.repeat(2, 0), x.sample_rate),
    ):
        with pytest.raises(InputError, match="of one shape and sample rate"):
            mean_of_channels(x, other, lambda a, b, rate: 0.0)
    with pytest.raises(InputError, match="expected audio for both, got image"):
        mean_of_channels(x, PICTURE, lambda a, b, rate: 0.0)
    with pytest.raises(InputError, match="expected image for both, got audio"):
        image_pair(PICTURE, x)
    with pytest.raises(InputError, match=r"\(3, 4, 6\) and \(3, 6, 4\)"):
        image_pair(PICTURE, Image(np.zeros((3, 6, 4), np.uint8)))


def test_reasons_for_silent_channels_and_non_finite_results(voice):
    x = voice(0.1, channels=2)
    half = Audio(x.samples * np.array([[1], [0]], np.float32), x.sample_rate)
    with pytest.raises(NotMeasurable, match="silence in channel 2"):
        mean_of_channels(half, x, lambda a, b, rate: 0.0)
    with pytest.raises(NotMeasurable, match="the result is not finite"):
        mean_of_channels(x, x, lambda a, b, rate: float("nan"))
