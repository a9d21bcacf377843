"""What sound this library takes: finite samples, one to 64 channels, 1 to 384 kHz."""

import numpy as np
from numpy.typing import NDArray

LOWEST_RATE, HIGHEST_RATE = 1_000, 384_000  # Hz
MOST_CHANNELS = 64


def rate_fault(sample_rate: int) -> str | None:
    """What is wrong with a sample rate in Hz, or None."""
    if LOWEST_RATE <= sample_rate <= HIGHEST_RATE:
        return None
    return f"a sample rate of {sample_rate} Hz, and {LOWEST_RATE} to {HIGHEST_RATE} Hz is possible; resample it first"


def channels_fault(channels: int) -> str | None:
    """What is wrong with a number of channels, or None."""
    if 1 <= channels <= MOST_CHANNELS:
        return None
    return f"{channels} channels, and 1 to {MOST_CHANNELS} are possible; split it first"


def finite_fault(block: NDArray[np.float32], first: int) -> str | None:
    """What is wrong with the first bad sample of a block (C, n) whose first frame has the index `first`, or None."""
    good = np.isfinite(block)
    if good.all():
        return None
    frame, channel = np.argwhere(~good.T)[0]
    value = "NaN" if np.isnan(block[channel, frame]) else "infinity"
    return f"{value} at sample {first + frame} of channel {channel} (both counted from 0)"
