import numpy as np
import pytest
from pystoi import stoi

from narrows.evaluation.base import NotMeasurable
from narrows.evaluation.metrics import metric
from narrows.media.audio import Audio


@pytest.mark.parametrize(("name", "extended"), [("stoi", False), ("estoi", True)])
@pytest.mark.parametrize("rate", [16_000, 22_050])
def test_matches_the_package(name, extended, rate, voice, noisy):
    x = voice(2, rate, channels=2)
    y = noisy(x)
    expected = [stoi(a, b, rate, extended=extended) for a, b in zip(x.samples, y.samples, strict=True)]
    assert metric(name).measure(x, y) == pytest.approx(np.mean(expected), abs=1e-6)


@pytest.mark.parametrize("name", ["stoi", "estoi"])
def test_too_little_speech_is_undefined(name, voice):
    x = voice(0.3)
    with pytest.raises(NotMeasurable, match="too short"):
        metric(name).measure(x, x)
    burst = Audio(np.pad(x.samples[:, 1600:3200], ((0, 0), (0, 30_000))), x.sample_rate)
    with pytest.raises(NotMeasurable, match="too little speech"):
        metric(name).measure(burst, burst)
