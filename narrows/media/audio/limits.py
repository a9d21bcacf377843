"""The audio that this library takes: finite samples, 1 to 64 channels, 1 to 384 kHz."""

import numpy as np
from numpy.typing import NDArray

MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 1_000, 384_000  # Hz
MAX_AUDIO_CHANNELS = 64


def sample_rate_error(sample_rate: int, where: str = "") -> str | None:
    """The error message for a sample rate in Hz that is out of range, or None.

    `where` follows the rate, for example " in 'a.wav'".
    """
    if MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE:
        return None
    expected = f"expected a sample rate from {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz"
    return f"{expected}, got {sample_rate} Hz{where}; resample it first"


def channels_error(channels: int, where: str = "") -> str | None:
    """The error message for a number of channels that is out of range, or None; `where` follows the number."""
    if 1 <= channels <= MAX_AUDIO_CHANNELS:
        return None
    return f"expected 1 to {MAX_AUDIO_CHANNELS} channels, got {channels}{where}; split them into several signals"


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
