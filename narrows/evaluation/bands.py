"""Distortion over frequency: third-octave bands of audio, rings of spatial frequency of images and frames.

reference ─▶ windowed spectra ─┐
                               ├─▶ per band: energies of signal and error, level differences
decoded   ─▶ windowed spectra ─┘
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from narrows.evaluation.metrics.frames import spread
from narrows.evaluation.metrics.pairs import Pixels, audio_pair, image_pair, video_pair
from narrows.evaluation.spectra import Spectra, hann, stft
from narrows.media.medium import Signal

THIRD_OCTAVES = (0.0, *(1000 * 2 ** ((k - 0.5) / 3) for k in range(-7, 15)))  # Hz; one band below 177 Hz, then thirds
AUDIO_WINDOW = 0.032  # seconds; rounded up to a power of two in samples
AUDIO_FLOOR = 1e-8  # power, 80 dB below full scale
RADII = (*(i / 32 for i in range(17)), 0.5**0.5)  # cycles/pixel; the last band is the corners beyond 1/2
TILE = 64  # pixels
IMAGE_FLOOR = (1 / 255) ** 2 / 12  # power of the rounding error of 8 bits
FRAMES = 8  # of a clip; bounds the time


@dataclass(frozen=True)
class BandDistortion:
    """Distortion in N frequency bands, as sums over items.

    Sums over several items can be added, so derived values are the values of all items concatenated: loud items weigh
    more in `noise_to_signal`, long items weigh more in `noise_to_signal` and in `log_spectral_distance`.

    Args:
        unit: Unit of `edges`.
        edges: Band edges (N + 1).
        signal: Energy of the references (N).
        error: Energy of decoded - reference (N).
        level_squares: Squared differences (N) in dB between the levels of reference and decoded signal in one window,
            summed with the window's amount.
        amount: Seconds or pixels (N), of each channel, that were compared.
    """

    unit: str
    edges: tuple[float, ...]
    signal: tuple[float, ...]
    error: tuple[float, ...]
    level_squares: tuple[float, ...]
    amount: tuple[float, ...]

    @property
    def noise_to_signal(self) -> tuple[float | None, ...]:
        """Noise-to-signal ratio (N) in dB; None where one of the energies is 0."""
        pairs = zip(self.error, self.signal, strict=True)
        return tuple(10 * float(np.log10(e / s)) if e > 0 and s > 0 else None for e, s in pairs)

    @property
    def log_spectral_distance(self) -> tuple[float | None, ...]:
        """Root mean square level difference (N) in dB; None where nothing was compared.

        It is low for a decoder that preserves the levels but not the phases.
        """
        pairs = zip(self.level_squares, self.amount, strict=True)
        return tuple(float((s / a) ** 0.5) if a > 0 else None for s, a in pairs)

    def __add__(self, other: Self) -> "BandDistortion":
        """Sums over the items of both."""
        if self.edges != other.edges:
            raise ValueError(f"expected equal band edges, got {len(self.edges)} and {len(other.edges)} edges")
        names = ("signal", "error", "level_squares", "amount")
        sums = [np.add(getattr(self, name), getattr(other, name)).tolist() for name in names]
        return BandDistortion(self.unit, self.edges, *(tuple(values) for values in sums))


def image_distortion_by_band(reference: Signal, decoded: Signal) -> BandDistortion:
    """Distortion in rings of spatial frequency of an image; the lowest band includes its mean.

    Args:
        reference: Original image.
        decoded: Of the same shape.

    Returns:
        The sums of this item.
    """
    return _image_bands(*image_pair(reference, decoded))


def video_distortion_by_band(reference: Signal, decoded: Signal) -> BandDistortion:
    """Distortion in rings of spatial frequency of a clip: the sums over up to 8 frames spread over it.

    Args:
        reference: Original clip.
        decoded: Of the same shape.

    Returns:
        The sums of these frames.
    """
    x, y = video_pair(reference, decoded)
    return reduce(add, (_image_bands(x[:, place], y[:, place]) for place in spread(x.shape[1], FRAMES)))


def _image_bands(x: Pixels, y: Pixels) -> BandDistortion:
    """The sums of an image (3, H, W)."""
    radius = np.hypot(np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)).ravel()
    weights = np.full((TILE, TILE // 2 + 1), 2.0)  # a bin stands for its conjugate too, but for the two end columns
    weights[:, [0, -1]] = 1
    pairs = zip(_tile_spectra(x), _tile_spectra(y), strict=True)
    return _band_sums(pairs, "cycles/pixel", RADII, radius, weights.ravel(), IMAGE_FLOOR, 1 / 4, (TILE // 2) ** 2)


def audio_distortion_by_band(reference: Signal, decoded: Signal) -> BandDistortion:
    """Distortion in third-octave bands of audio; bands above half the sample rate are empty.

    Args:
        reference: Original signal.
        decoded: Of the same shape and sample rate, aligned.

    Returns:
        The sums of this item.

    Raises:
        NotMeasurable: Samples are not finite.
    """
    channels, decoded_channels, rate = audio_pair(reference, decoded)
    size = 1 << (int(AUDIO_WINDOW * rate) - 1).bit_length()
    window = _normalized(hann(size))
    spectra = (
        pair
        for channel_pair in zip(channels, decoded_channels, strict=True)
        for pair in zip(*(stft(channel, window, size, size // 2) for channel in channel_pair), strict=True)
    )
    frequencies = np.fft.rfftfreq(size, 1 / rate)
    ones = np.ones(len(frequencies))
    return _band_sums(spectra, "Hz", THIRD_OCTAVES, frequencies, ones, AUDIO_FLOOR, 1 / rate, size / 2 / rate)


def _band_sums(
    pairs: Iterable[tuple[Spectra, Spectra]],
    unit: str,
    edges: tuple[float, ...],
    frequencies: NDArray[np.floating],
    weights: NDArray[np.floating],
    floor: float,
    energy: float,
    amount: float,
) -> BandDistortion:
    """Sums over blocks of spectra.

    Args:
        pairs: Blocks (n, bins) of spectra of reference and decoded signal.
        unit: Unit of `edges`.
        edges: Band edges (N + 1).
        frequencies: Of the bins (bins,).
        weights: Number of bins that each bin stands for (bins,).
        floor: Power added to the levels.
        energy: Energy of a squared magnitude of 1.
        amount: Seconds or pixels of one window.

    Returns:
        The sums.
    """
    bands = np.searchsorted(edges, frequencies, side="right") - 1  # the last edge itself belongs to no band
    members = (bands[:, None] == np.arange(len(edges) - 1)) * weights[:, None]  # (bins, N)
    bins = members.sum(0)
    sums = np.zeros((4, len(bins)))
    for x, y in pairs:
        powers = [(np.square(z.real) + np.square(z.imag)) @ members.astype(z.real.dtype) for z in (x, x - y, y)]
        levels = [10 * np.log10(power / bins.clip(min=1) + floor) for power in powers]
        squares = np.square(levels[0] - levels[2])
        sums += powers[0].sum(0), powers[1].sum(0), squares.sum(0), len(x) * (bins > 0)
    signal, error, squares, amounts = (tuple(row.tolist()) for row in sums * [[energy], [energy], [amount], [amount]])
    return BandDistortion(unit, edges, signal, error, squares, amounts)


def _tile_spectra(pixels: Pixels) -> Iterator[Spectra]:
    """Half spectra (n, TILE × (TILE / 2 + 1)) of half-overlapping tiles of all channels, one row of tiles at a time."""
    margin = TILE // 2
    padded = np.pad(pixels, ((0, 0), (margin, margin), (margin, margin)), mode="reflect").transpose(1, 2, 0)
    window = (_normalized(np.outer(hann(TILE), hann(TILE))) / 255).astype(np.float32)
    for row in sliding_window_view(padded, (TILE, TILE), (0, 1))[::margin, ::margin]:  # (n, 3, TILE, TILE)
        yield np.fft.rfft2(row.astype(np.float32) * window).reshape(len(row) * row.shape[1], -1)


def _normalized(window: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scaled so that white noise of standard deviation s has the RMS magnitude s in each bin."""
    return window / np.sqrt(np.square(window).sum())
