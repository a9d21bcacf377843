import numpy as np
import pytest
import soxr

from narrows.errors import InputError
from narrows.evaluation.base import NotMeasurable, Picture, Sound
from narrows.evaluation.metrics.pairs import mean_of_channels, pictures

PICTURE = Picture(np.zeros((4, 6, 3), np.uint8))


def test_channels_are_measured_one_by_one_at_the_rate_that_is_asked_for(voice, worse):
    x = voice(0.2, 44_100, channels=2)
    y = worse(x)
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


def test_what_cannot_be_compared_is_refused(voice):
    x = voice(0.1)
    for other in (Sound(x.samples, 8000), Sound(x.samples[:, 1:], x.rate), Sound(x.samples.repeat(2, 0), x.rate)):
        with pytest.raises(InputError, match="one shape and rate wanted"):
            mean_of_channels(x, other, lambda a, b, rate: 0.0)
    with pytest.raises(InputError, match="a picture given"):
        mean_of_channels(x, PICTURE, lambda a, b, rate: 0.0)
    with pytest.raises(InputError, match="a sound given"):
        pictures(PICTURE, x)
    with pytest.raises(InputError, match=r"\(4, 6, 3\) and \(6, 4, 3\)"):
        pictures(PICTURE, Picture(np.zeros((6, 4, 3), np.uint8)))


def test_a_silent_channel_and_results_that_are_not_finite_have_reasons(voice):
    x = voice(0.1, channels=2)
    half = Sound(x.samples * np.array([[1], [0]], np.float32), x.rate)
    with pytest.raises(NotMeasurable, match="silence in channel 2"):
        mean_of_channels(half, x, lambda a, b, rate: 0.0)
    with pytest.raises(NotMeasurable, match="the result is not finite"):
        mean_of_channels(x, x, lambda a, b, rate: float("nan"))
