import numpy as np
import pytest

from narrows.errors import InputError
from narrows.evaluation import alignment
from narrows.evaluation.alignment import align, check_size
from narrows.media.audio import Audio
from narrows.media.image import Image

RNG = np.random.default_rng(0)
X = Audio(RNG.standard_normal((2, 20_000), np.float32), 16_000)


def delayed(recording, delay, extra=0):
    """Recording delayed by so many samples (negative: early), with noise and `extra` samples at the end."""
    samples = np.pad(recording.samples, ((0, 0), (max(delay, 0), extra)))[:, max(-delay, 0) :]
    return Audio((samples + 0.1 * RNG.standard_normal(samples.shape)).astype(np.float32), recording.sample_rate)


@pytest.mark.parametrize("delay", [0, 1, -1, 1280, -700, 4800, -4800])
@pytest.mark.parametrize("extra", [0, 333])
def test_delay_is_found_and_removed(delay, extra):
    decoded = delayed(X, delay, extra)
    result, found = align(decoded, X)
    assert found == delay
    assert (result.sample_rate, result.samples.shape, result.samples.dtype) == (16_000, X.samples.shape, np.float32)
    start, stop = max(-delay, 0), X.samples.shape[1]
    np.testing.assert_array_equal(result.samples[:, :start], 0)
    expected = decoded.samples[:, max(delay, 0) :][:, : stop - start]
    np.testing.assert_array_equal(result.samples[:, start:], expected)


def test_delay_is_found_over_the_whole_recording(monkeypatch):
    monkeypatch.setattr(alignment, "MAX_DELAY", 0.01)  # blocks of about 2000 samples
    quiet = X.samples * (np.arange(20_000) > 15_000)  # the first part is silent
    reference = Audio(quiet.astype(np.float32), 16_000)
    assert align(delayed(reference, 150), reference)[1] == 150
    size = 1 << 16
    x, y = (np.fft.rfft(s.samples, size) for s in (delayed(X, 100), X))
    expected = np.fft.irfft((x * y.conj()).sum(0), size)[np.arange(-160, 161)]
    assert align(delayed(X, 100), X)[1] == np.arange(-160, 161)[expected.argmax()]


def test_correlation_matches_its_definition():
    x, target = RNG.standard_normal((2, 900), np.float32), RNG.standard_normal((2, 700), np.float32)
    found = alignment._correlation(x, target, 20)
    for delay in range(-20, 21):
        times = np.arange(max(-delay, 0), min(700, 900 - delay))
        expected = (target[:, times].astype(float) * x[:, times + delay]).sum()
        assert found[delay + 20] == pytest.approx(expected, abs=1e-9)


def test_uncorrelated_audio_is_not_shifted():
    other = Audio(RNG.standard_normal((2, 19_000), np.float32), 16_000)
    result, delay = align(other, X)
    assert delay == 0
    np.testing.assert_array_equal(result.samples[:, :19_000], other.samples)
    np.testing.assert_array_equal(result.samples[:, 19_000:], 0)
    for odd in (0 * X.samples, X.samples * np.nan, X.samples[:, :0]):
        result, delay = align(Audio(odd, 16_000), X)
        assert (delay, result.samples.shape) == (0, X.samples.shape)
    single = Audio(np.ones((1, 1), np.float32), 8000)
    assert align(single, single)[1] == 0


def test_smallest_of_equal_delays_is_taken():
    tone = Audio(np.sin(2 * np.pi * np.arange(16_000) / 40, dtype=np.float32)[None], 16_000)
    assert align(tone, tone)[1] == 0
    silence = Audio(np.zeros((1, 16_000), np.float32), 16_000)
    assert align(silence, silence)[1] == 0


def test_other_channels_and_media_are_rejected():
    with pytest.raises(InputError, match="expected 2 channels of audio as in the reference, got 1 channels of audio"):
        align(Audio(X.samples[:1], 16_000), X)
    with pytest.raises(InputError, match="expected 2 channels of audio as in the reference, got 3 channels of image"):
        align(Image(np.zeros((3, 2, 3), np.uint8)), X)


def test_other_sample_rates_are_resampled():
    low = X.resampled(8000)
    result, delay = align(delayed(low, 40), X)
    assert (result.sample_rate, result.samples.shape) == (16_000, X.samples.shape)
    assert abs(delay - 80) <= 1


def test_size_of_images_is_checked():
    wide, high = (Image(np.zeros(shape, np.uint8)) for shape in ((3, 2, 3), (3, 3, 2)))
    assert check_size(wide, wide) is wide
    with pytest.raises(InputError, match=r"expected image of shape .* as in the reference, got"):
        check_size(high, wide)
    with pytest.raises(InputError, match="as in the reference"):
        check_size(X, wide)
