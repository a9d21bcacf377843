"""Distances between the magnitudes of short-time spectra; phases do not count."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from narrows.evaluation.base import Metric, NotMeasurable
from narrows.evaluation.metrics.pairs import Channel, mean_of_channels
from narrows.evaluation.spectra import Padding, hann, mel_filters, stft
from narrows.media.medium import Signal

MELS = {32: 5, 64: 10, 128: 20, 256: 40, 512: 80, 1024: 160, 2048: 320}  # mel bands by window, as descript-audio-codec
MEL_FLOOR = 1e-5
RESOLUTIONS = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))  # FFT size, hop, window: Yamamoto et al., table 1
POWER_FLOOR = 1e-8  # as auraloss
LEVEL_RATE, LEVEL_WINDOW, LEVEL_HOP, LEVEL_MELS = 16_000, 1024, 256, 80
LEVEL_FLOOR = 1e-4  # magnitude of white noise 80 dB below full scale; differences below it do not count

Magnitudes = NDArray[np.float64]  # (frames, bins)


def mel_distance(reference: Signal, decoded: Signal) -> float:
    """Sum over seven resolutions of the mean |difference| of log10 mel magnitudes (arXiv 2306.06546, section 3.5)."""
    return mean_of_channels(reference, decoded, _mel_distance)


def stft_distance(reference: Signal, decoded: Signal) -> float:
    """Mean over three resolutions of spectral convergence and log magnitude (arXiv 1910.11480, eqs. 4 to 6)."""
    return mean_of_channels(reference, decoded, _stft_distance)


def mel_level_difference(reference: Signal, decoded: Signal) -> float:
    """Mean |difference| in dB between the levels of 80 mel bands at 16 kHz."""
    return mean_of_channels(reference, decoded, _mel_level_difference, LEVEL_RATE)


def _mel_distance(x: Channel, y: Channel, rate: int) -> float:
    _check_length(x, max(MELS))
    total = 0.0
    for window, mels in MELS.items():
        filters, sums = mel_filters(rate, window, mels), np.zeros(2)
        for a, b in _magnitudes(x, y, hann(window), window, window // 4):
            difference = np.log10((a @ filters).clip(min=MEL_FLOOR)) - np.log10((b @ filters).clip(min=MEL_FLOOR))
            sums += np.abs(difference).sum(), difference.size
        total += sums[0] / sums[1]
    return total


def _stft_distance(x: Channel, y: Channel, rate: int) -> float:
    _check_length(x, max(size for size, _, _ in RESOLUTIONS))
    total = 0.0
    for size, hop, window in RESOLUTIONS:
        sums = np.zeros(4)
        for a, b in _magnitudes(x, y, hann(window), size, hop):
            a, b = a.clip(min=POWER_FLOOR**0.5), b.clip(min=POWER_FLOOR**0.5)
            sums += np.square(a - b).sum(), np.square(a).sum(), np.abs(np.log(a / b)).sum(), a.size
        total += (sums[0] / sums[1]) ** 0.5 + sums[2] / sums[3]
    return total / len(RESOLUTIONS)


def _mel_level_difference(x: Channel, y: Channel, rate: int) -> float:
    filters = mel_filters(rate, LEVEL_WINDOW, LEVEL_MELS)
    filters = filters / filters.sum(0)  # a band's magnitude is a weighted mean of its bins
    window = hann(LEVEL_WINDOW)
    window = window / np.sqrt(window @ window)  # white noise of standard deviation s has RMS magnitude s
    sums = np.zeros(2)
    for a, b in _magnitudes(x, y, window, LEVEL_WINDOW, LEVEL_HOP, "constant"):
        difference = np.log10((a @ filters).clip(min=LEVEL_FLOOR)) - np.log10((b @ filters).clip(min=LEVEL_FLOOR))
        sums += 20 * np.abs(difference).sum(), difference.size
    return float(sums[0] / sums[1])


def _magnitudes(
    x: Channel, y: Channel, window: NDArray[np.float64], size: int, hop: int, padding: Padding = "reflect"
) -> Iterator[tuple[Magnitudes, Magnitudes]]:
    pairs = zip(*(stft(signal, window, size, hop, padding) for signal in (x, y)), strict=True)
    return ((np.abs(a), np.abs(b)) for a, b in pairs)


def _check_length(x: Channel, window: int) -> None:
    if len(x) <= window // 2:
        raise NotMeasurable(f"shorter than {window // 2 + 1} samples")


MEL_DISTANCE = Metric(
    name="mel-distance",
    medium="audio",
    unit="",
    better="lower",
    description=(
        "Multi-resolution mel distance of descript-audio-codec (arXiv 2306.06546): mean |difference| of log10 of mel "
        "magnitudes (floor 1e-5), summed over Hann windows of 32, 64, ... 2048 samples (hop a quarter) with 5, 10, ... "
        "320 bands (torchaudio's filters, Slaney scale). At the recording's own sample rate: compare at one rate only."
    ),
    measure=mel_distance,
    packages=("torchaudio",),
)
STFT_DISTANCE = Metric(
    name="stft-distance",
    medium="audio",
    unit="",
    better="lower",
    description=(
        "Multi-resolution STFT distance (Yamamoto et al., arXiv 1910.11480, as in auraloss): spectral convergence plus "
        "mean |difference| of the natural logarithm of magnitudes, mean over FFTs of 1024, 2048, 512 (Hann windows of "
        "600, 1200, 240; hops of 120, 240, 50; floor 1e-4). At the recording's own sample rate: compare at one rate "
        "only."
    ),
    measure=stft_distance,
)
MEL_LEVEL_DIFFERENCE = Metric(
    name="mel-level-difference",
    medium="audio",
    unit="dB",
    better="lower",
    description=(
        "Mean |difference| of the levels of 80 mel bands at 16 kHz (other rates are resampled; Hann window of 1024, "
        "hop of 256; torchaudio's filters, Slaney scale), with a floor 80 dB below full scale."
    ),
    measure=mel_level_difference,
    packages=("soxr", "torchaudio"),
)
