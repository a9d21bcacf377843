import pytest
import visqol

from narrows.evaluation.base import NotMeasurable
from narrows.evaluation.metrics import metric

MEASURE = metric("visqol-audio").measure


def test_matches_the_package(voice, noisy):
    x = voice(1, 48_000)
    y = noisy(x, 0.003)
    judge = visqol.VisqolApi()
    judge.create(mode="audio")
    expected = judge.measure_from_arrays(x.samples[0], y.samples[0], 48_000).moslqo
    assert MEASURE(x, y) == pytest.approx(expected, abs=1e-6)
    assert 1 < expected < 4.73


def test_too_short_audio_is_undefined(voice):
    x = voice(0.5)
    with pytest.raises(NotMeasurable, match="too short"):
        MEASURE(x, x)
