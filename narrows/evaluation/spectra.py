"""Short-time spectra, block by block so that memory does not grow with the length of a recording, and mel filters."""

import warnings
from collections.abc import Iterator
from functools import cache
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


def stft(
    x: NDArray[np.floating],
    window: NDArray[np.float64],
    size: int,
    hop: int,
    padding: Padding = "reflect",
) -> Iterator[Spectra]:
    """Short-time Fourier transform with centred frames, as `torch.stft`.

    Args:
        x: Signal (T,).
        window: Window of at most `size` samples; a shorter window is zero-padded on both sides.
        size: FFT size.
        hop: Samples between frames.
        padding: Padding of the signal by size / 2 at both ends.

    Yields:
        Blocks (n, size / 2 + 1) of spectra, T // hop + 1 frames in total.
    """
    left = (size - len(window)) // 2
    padded_window = np.pad(window, (left, size - len(window) - left))
    frames = sliding_window_view(np.pad(x, size // 2, mode=padding), size)[::hop]
    count = max(1, BLOCK // size)
    for start in range(0, len(frames), count):
        yield np.fft.rfft(frames[start : start + count] * padded_window)


@cache
def mel_filters(sample_rate: int, size: int, mels: int) -> NDArray[np.float64]:
    """Triangular mel filters of torchaudio, from 0 Hz to half the sample rate; Slaney's mel scale, area 1 each.

    Args:
        sample_rate: Sample rate in Hz.
        size: FFT size.
        mels: Number of filters.

    Returns:
        Weights (size / 2 + 1, mels). A filter that lies between two bins is all zeros.
    """
    import torchaudio

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "At least one mel filterbank")  # is all zeros
        weights = torchaudio.functional.melscale_fbanks(
            size // 2 + 1, 0.0, sample_rate / 2, mels, sample_rate, norm="slaney", mel_scale="slaney"
        )
    return weights.double().numpy()
