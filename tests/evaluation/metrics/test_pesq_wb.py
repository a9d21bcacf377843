import numpy as np
import pytest
import soxr
from pesq import pesq

from narrows.evaluation.base import NotMeasurable
from narrows.evaluation.metrics import metric
from narrows.media.audio import Audio

MEASURE = metric("pesq-wb").measure


def test_matches_the_package(voice, noisy):
    x = voice(3)
    y = noisy(x)
    expected = pesq(16_000, x.samples[0], y.samples[0], "wb")
    assert MEASURE(x, y) == pytest.approx(expected, abs=1e-6)
    pair = [Audio(np.concatenate([s.samples, y.samples]), 16_000) for s in (x, y)]
    assert MEASURE(*pair) == pytest.approx((expected + pesq(16_000, *[y.samples[0]] * 2, "wb")) / 2, abs=1e-6)


def test_other_rates_are_resampled(voice, noisy):
    x = voice(3, 44_100)
    y = noisy(x)
    expected = pesq(16_000, *(soxr.resample(s.samples[0], 44_100, 16_000, "VHQ") for s in (x, y)), "wb")
    assert MEASURE(x, y) == pytest.approx(expected, abs=1e-6)


def test_long_audio_is_measured_in_segments(voice, noisy):
    x = voice(20.5)  # of which 50 utterances and more crash the reference code
    y = noisy(x)
    half = 164_000
    pieces = [(x.samples[0, part], y.samples[0, part]) for part in (slice(half), slice(half, None))]
    assert MEASURE(x, y) == pytest.approx(np.mean([pesq(16_000, *pair, "wb") for pair in pieces]), abs=1e-6)


def test_errors_of_the_package_become_reasons(voice):
    x = voice()
    with pytest.raises(NotMeasurable, match="PESQ: cannot convert float NaN"):
        MEASURE(x, Audio(0 * x.samples, x.sample_rate))
    short = voice(0.2)
    with pytest.raises(NotMeasurable, match="PESQ: Buffer needs to be at least 1/4 of a second long"):
        MEASURE(short, short)
