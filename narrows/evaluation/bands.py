"""Where in the spectrum the distortion is: by frequency of sounds, by spatial frequency of pictures.

reference ─▶ windowed spectra ─┐
                               ├─▶ by band: energies of signal and error, differences of level
decoded   ─▶ windowed spectra ─┘
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from narrows.evaluation.base import Picture, Signal
from narrows.evaluation.metrics.pairs import Pixels, pictures, sounds
from narrows.evaluation.spectra import Spectra, hann, short_time

THIRD_OCTAVES = (0.0, *(1000 * 2 ** ((k - 0.5) / 3) for k in range(-7, 15)))  # Hz; a band below 177, then thirds
SOUND_WINDOW = 0.032  # seconds, at least: up to the next power of two in samples
SOUND_FLOOR = 1e-8  # power 80 dB below full scale
RADII = (*(i / 32 for i in range(17)), 0.5**0.5)  # cycles/pixel; the last band is the corners beyond 1/2
TILE = 64  # pixels
PICTURE_FLOOR = (1 / 255) ** 2 / 12  # power of the error of rounding to 8 bits


@dataclass(frozen=True)
class Bands:
    """Distortion in each of N bands, as sums over items.

    edges (N + 1) in `unit`. Sums (N): energy of the references and of the errors, squared differences in dB of the
    level of a band in one window, and the amount (seconds or pixels, of each channel) that was compared. Bands add up:
    the values of a sum are those of all items taken for one long one, so that loud items count for more in
    `noise_to_signal`, and long items for more in both.
    """

    unit: str
    edges: tuple[float, ...]
    signal: tuple[float, ...]
    error: tuple[float, ...]
    squares: tuple[float, ...]
    amount: tuple[float, ...]

    @property
    def noise_to_signal(self) -> tuple[float | None, ...]:
        """(N,) energy of the error over that of the reference in dB; None where one of them is nothing."""
        pairs = zip(self.error, self.signal, strict=True)
        return tuple(10 * float(np.log10(e / s)) if e > 0 and s > 0 else None for e, s in pairs)

    @property
    def level_distance(self) -> tuple[float | None, ...]:
        """(N,) root mean square in dB of the differences of level; None where nothing was compared.

        Low where a decoder made up phases but kept the levels.
        """
        pairs = zip(self.squares, self.amount, strict=True)
        return tuple(float((s / a) ** 0.5) if a > 0 else None for s, a in pairs)

    def __add__(self, other: Self) -> "Bands":
        """Both together."""
        if self.edges != other.edges:
            raise ValueError("bands of two media do not add up")
        names = ("signal", "error", "squares", "amount")
        sums = [np.add(getattr(self, name), getattr(other, name)).tolist() for name in names]
        return Bands(self.unit, self.edges, *(tuple(values) for values in sums))


def distortion_by_band(reference: Signal, decoded: Signal) -> Bands:
    """Distortion of a decoded signal in third-octave bands of a sound or rings of spatial frequency of a picture.

    Both of one shape and rate, aligned; bands above half the rate are empty. The lowest band of a picture holds its
    mean too. Raises NotMeasurable for samples that are not finite.
    """
    if isinstance(reference, Picture):
        x, y = pictures(reference, decoded)
        radius = np.hypot(np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)).ravel()
        twice = np.full((TILE, TILE // 2 + 1), 2.0)  # each stands for its conjugate too, but the first and the last
        twice[:, [0, -1]] = 1
        pairs = zip(_tiles(x), _tiles(y), strict=True)
        return _summed(pairs, "cycles/pixel", RADII, radius, twice.ravel(), PICTURE_FLOOR, 1 / 4, (TILE // 2) ** 2)
    channels, others, rate = sounds(reference, decoded)
    size = 1 << (int(SOUND_WINDOW * rate) - 1).bit_length()
    window = _normalized(hann(size))
    spectra = (
        pair
        for channel, other in zip(channels, others, strict=True)
        for pair in zip(*(short_time(s, window, size, size // 2) for s in (channel, other)), strict=True)
    )
    frequencies = np.fft.rfftfreq(size, 1 / rate)
    once = np.ones(len(frequencies))
    return _summed(spectra, "Hz", THIRD_OCTAVES, frequencies, once, SOUND_FLOOR, 1 / rate, size / 2 / rate)


def _summed(
    pairs: Iterable[tuple[Spectra, Spectra]],
    unit: str,
    edges: tuple[float, ...],
    frequencies: NDArray[np.floating],
    weights: NDArray[np.floating],
    floor: float,
    energy: float,
    amount: float,
) -> Bands:
    """Sums over pairs of blocks (n, bins) of spectra.

    weights (bins,): how many bins each stands for. energy and amount: of a squared magnitude, of a window.
    """
    places = np.searchsorted(edges, frequencies, side="right") - 1  # the last edge itself belongs to no band
    members = (places[:, None] == np.arange(len(edges) - 1)) * weights[:, None]  # (bins, N)
    bins = members.sum(0)
    sums = np.zeros((4, len(bins)))
    for x, y in pairs:
        powers = [(np.square(z.real) + np.square(z.imag)) @ members.astype(z.real.dtype) for z in (x, x - y, y)]
        levels = [10 * np.log10(power / bins.clip(min=1) + floor) for power in powers]
        squares = np.square(levels[0] - levels[2])
        sums += powers[0].sum(0), powers[1].sum(0), squares.sum(0), len(x) * (bins > 0)
    signal, error, squares, windows = (tuple(row.tolist()) for row in sums * [[energy], [energy], [amount], [amount]])
    return Bands(unit, edges, signal, error, squares, windows)


def _tiles(pixels: Pixels) -> Iterator[Spectra]:
    """Half spectra (n, TILE × (TILE / 2 + 1)) of half-overlapping tiles of all channels, a row of tiles at a time."""
    margin = TILE // 2
    padded = np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    window = (_normalized(np.outer(hann(TILE), hann(TILE))) / 255).astype(np.float32)
    for row in sliding_window_view(padded, (TILE, TILE), (0, 1))[::margin, ::margin]:  # (n, 3, TILE, TILE)
        yield np.fft.rfft2(row.astype(np.float32) * window).reshape(len(row) * row.shape[1], -1)


def _normalized(window: NDArray[np.float64]) -> NDArray[np.float64]:
    """So that white noise of deviation s has magnitude s at each frequency."""
    return window / np.sqrt(np.square(window).sum())
