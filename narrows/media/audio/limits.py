"""The audio that this library takes: finite samples up to 16 times full scale, 1 to 64 channels, 1 to 384 kHz."""

import numpy as np
from numpy.typing import NDArray

from narrows.errors import InputError, shortened

MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 1_000, 384_000  # Hz
MAX_AUDIO_CHANNELS = 64
MAX_SAMPLE = 16.0  # 24 dB above full scale; larger samples are integers that were stored as floats


def sample_rate_error(sample_rate: int, where: str = "") -> str | None:
    """The error message for a sample rate in Hz that is out of range, or None.

    `where` follows the rate, for example " in 'a.wav'".
    """
    if MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE:
        return None
    expected = f"expected a sample rate from {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz"
    return f"{expected}, got {shortened(sample_rate)} Hz{where}; resample it first"


def check_whole_rate(sample_rate: object) -> None:
    """Raise InputError for a sample rate that is no whole number."""
    if isinstance(sample_rate, bool) or not isinstance(sample_rate, int | np.integer):
        raise InputError(f"expected the sample rate as a whole number of Hz, got {shortened(sample_rate)}")


def check_rate(sample_rate: int) -> None:
    """Raise InputError for a sample rate that is no whole number, or out of range."""
    check_whole_rate(sample_rate)
    if message := sample_rate_error(int(sample_rate)):
        raise InputError(message)


def channels_error(channels: int, where: str = "") -> str | None:
    """The error message for a number of channels that is out of range, or None; `where` follows the number."""
    if 1 <= channels <= MAX_AUDIO_CHANNELS:
        return None
    expected = f"expected 1 to {MAX_AUDIO_CHANNELS} channels"
    return f"{expected}, got {shortened(channels)}{where}; split them into several signals"


def finite_error(block: NDArray[np.float32], start: int, where: str = "") -> str | None:
    """The error message for the first NaN or infinity in a block, or None.

    Args:
        block: samples (C, n).
        start: index in the signal of the first sample of the block.
        where: follows the value and its place.
    """
    finite = np.isfinite(block)
    if finite.all():
        return None
    sample, channel = np.argwhere(~finite.T)[0]
    value = "NaN" if np.isnan(block[channel, sample]) else "infinity"
    place = f"sample {start + sample} of channel {channel} (both counted from 0){where}"
    return f"expected finite samples, got {value} at {place}; repair or cut that place"


def samples_error(block: NDArray[np.float32], start: int, where: str = "") -> str | None:
    """The error message of `finite_error`, or for samples far above full scale, or None."""
    if not block.size:
        return None
    if message := finite_error(block, start, where):
        return message
    peak = max(float(block.max()), -float(block.min()))
    if peak <= MAX_SAMPLE:
        return None
    sample, channel = np.argwhere(abs(block.T) > MAX_SAMPLE)[0]
    bits = next((bits for bits in (8, 16, 24, 32) if peak <= 2 ** (bits - 1)), None)
    advice = f"if they are integers of {bits} bits, divide them by {2 ** (bits - 1)}" if bits else "scale them"
    expected = f"expected samples up to {MAX_SAMPLE:g}, where full scale is 1"
    place = f"sample {start + sample} of channel {channel} (both counted from 0){where}"
    return f"{expected}, got up to {peak:.6g}, the first at {place}; {advice}"


def channels_text(channels: int) -> str:
    """A number of channels, for people."""
    return "1 channel" if channels == 1 else f"{channels} channels"
