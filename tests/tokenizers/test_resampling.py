import numpy as np
import pytest

from narrows.tokenizers.resampling import resample_blocks


def tone(rate: int, seconds: float = 0.5) -> np.ndarray:
    return np.sin(2 * np.pi * 200 * np.arange(int(rate * seconds)) / rate).astype(np.float32)[None]


@pytest.mark.parametrize("rate", [1000, 8000, 11127, 44100, 48001, 384_000])
def test_a_tone_keeps_its_pitch_and_the_signal_its_length(rate: int) -> None:
    out = np.concatenate(list(resample_blocks([tone(rate)], rate, 16_000, 8000)), 1)
    assert out.shape == (1, 8000)
    np.testing.assert_allclose(out[:, 1000:7000], tone(16_000)[:, 1000:7000], atol=0.02)


@pytest.mark.parametrize("block", [1, 999, 4000])
def test_the_result_does_not_depend_on_the_blocks(block: int) -> None:
    x = np.random.default_rng(0).standard_normal((2, 6000)).astype(np.float32)
    whole = np.concatenate(list(resample_blocks([x], 44_100, 16_000, 2177)), 1)
    parts = (x[:, start : start + block] for start in range(0, 6000, block))
    np.testing.assert_array_equal(np.concatenate(list(resample_blocks(parts, 44_100, 16_000, 2177)), 1), whole)


@pytest.mark.parametrize("samples", [1, 3, 50])
def test_missing_samples_are_zeros_and_surplus_ones_dropped(samples: int) -> None:
    x = np.ones((2, 3), np.float32)
    out = np.concatenate(list(resample_blocks([x], 16_000, 16_000, samples)), 1)
    assert out.shape == (2, samples)
    assert out[:, :3].min() == 1
    assert not out[:, 3:].any()
