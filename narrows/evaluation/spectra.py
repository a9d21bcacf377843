"""Short-time spectra and mel bands, in blocks, so that memory does not grow with the length of a sound."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

BLOCK = 1 << 20  # samples of the frames that are transformed at once

Spectra = NDArray[np.complex128]  # (n, bins)
Padding = Literal["reflect", "constant"]


def hann(length: int) -> NDArray[np.float64]:
    """The periodic Hann window (length,)."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)


def short_time(
    x: NDArray[np.floating],
    window: NDArray[np.float64],
    size: int,
    hop: int,
    padding: Padding = "reflect",
) -> Iterator[Spectra]:
    """A signal (T,) to blocks (n, size / 2 + 1) of its short-time spectra, T / hop + 1 frames in all.

    A frame stands in the middle of `size` samples; a shorter window is filled up with zeros on both sides.
    """
    left = (size - len(window)) // 2
    filled = np.pad(window, (left, size - len(window) - left))
    frames = sliding_window_view(np.pad(x, size // 2, mode=padding), size)[::hop]
    count = max(1, BLOCK // size)
    for start in range(0, len(frames), count):
        yield np.fft.rfft(frames[start : start + count] * filled)


def mel_bank(rate: int, size: int, mels: int) -> NDArray[np.float64]:
    """Weights (mels, size / 2 + 1) of triangular bands from 0 Hz to half the rate, each of area 1 (Slaney's).

    Mel as in Slaney's Auditory Toolbox: 3 / 200 of the frequency up to 1 kHz, logarithmic above, 27 to a factor of 6.4.
    """
    top = rate / 2
    highest = top * 3 / 200 if top < 1000 else 15 + 27 * np.log(top / 1000) / np.log(6.4)
    steps = np.linspace(0, highest, mels + 2)
    edges = np.where(steps < 15, steps * 200 / 3, 1000 * 6.4 ** ((steps - 15) / 27))[:, None]  # Hz
    bins = np.fft.rfftfreq(size, 1 / rate)
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.minimum(rising, falling).clip(min=0) * 2 / (edges[2:] - edges[:-2])
