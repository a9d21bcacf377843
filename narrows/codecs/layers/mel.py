"""Mel spectra, computed without files of filters.

(B, T) ── frames of n_fft samples, Hann window ──▶ STFT ──▶ |.|^power ── triangles ──▶ (B, mels, T / hop)
"""

import math

import torch
from torch import Tensor, nn

from narrows.codecs.checks import check_integers
from narrows.codecs.layers.istft import check_frames, samples_before
from narrows.codecs.layers.reflected import reflected

MAX_MELS = 1024
MAX_RATE = 384_000  # Hz


def htk_filters(bins: int, mels: int, rate: int) -> Tensor:
    """Triangles of height 1 on the mel scale of HTK, 2595 log10(1 + f / 700): (bins, mels) float32.

    In float32 throughout, as torchaudio computes them: networks were trained on these values.

    Args:
        bins: frequencies from 0 to rate / 2.
        mels: number of triangles.
        rate: sample rate in Hz.
    """
    highest = 2595.0 * math.log10(1.0 + rate // 2 / 700.0)
    edges = 700.0 * (10.0 ** (torch.linspace(0.0, highest, mels + 2) / 2595.0) - 1.0)
    return triangles(torch.linspace(0, rate // 2, bins), edges)


def slaney_filters(bins: int, mels: int, rate: int) -> Tensor:
    """Triangles of area 1 on Slaney's mel scale, linear up to 1 kHz and logarithmic above: (bins, mels) float32.

    In float64, rounded at the end, as librosa computes them. Arguments as of `htk_filters`.
    """
    step = math.log(6.4) / 27  # of the logarithm of a frequency, per mel
    highest = 15.0 + math.log(rate / 2 / 1000.0) / step if rate > 2000 else rate / 2 * 3 / 200
    points = torch.linspace(0.0, highest, mels + 2, dtype=torch.float64)
    edges = torch.where(points < 15.0, points * 200 / 3, 1000.0 * torch.exp(step * (points - 15.0)))
    filters = triangles(torch.linspace(0, rate / 2, bins, dtype=torch.float64), edges)
    return (filters * (2.0 / (edges[2:] - edges[:-2]))).float()


def triangles(frequencies: Tensor, edges: Tensor) -> Tensor:
    """Triangles (frequencies, edges - 2): each rises from one edge to the next and falls to the one after."""
    widths, slopes = edges.diff(), edges - frequencies[:, None]
    rising, falling = -slopes[:, :-2] / widths[:-1], slopes[:, 2:] / widths[1:]
    return torch.minimum(rising, falling).clamp(min=0)


class MelSpectra(nn.Module):
    """Signals (B, T), T a multiple of the hop, to mel spectra (B, mels, T / hop).

    Signals are reflected at their ends. `torch.stft` with `center=True` returns one frame more if frames are `centred`:
    the one at the end of the signal.

    Args:
        filters: (n_fft / 2 + 1, mels), from `htk_filters` or `slaney_filters`.
        hop: samples between frames.
        power: exponent of the magnitudes: 1 or 2.
        centred: see `samples_before`.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, filters: Tensor, hop: int, power: int, centred: bool) -> None:
        super().__init__()
        self.n_fft, self.hop, self.power = 2 * (len(filters) - 1), hop, power
        check_frames(self.n_fft, hop)
        self.before = samples_before(self.n_fft, hop, centred)
        self.register_buffer("window", torch.hann_window(self.n_fft), persistent=False)
        self.register_buffer("filters", filters, persistent=False)

    @property
    def reach(self) -> tuple[int, int]:
        """Blocks of hop samples before and after its own on which a frame depends; frames start with a weight of 0."""
        return -((1 - self.before) // self.hop), (self.n_fft - 1 - self.before) // self.hop

    def forward(self, x: Tensor) -> Tensor:
        """(B, T) to (B, mels, T / hop), at least float32."""
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        padded = reflected(x[:, None], self.before, self.n_fft - self.hop - self.before)[:, 0]
        spectra = torch.fft.rfft(padded.unfold(1, self.n_fft, self.hop) * self.window).abs()
        return (spectra**self.power @ self.filters.to(spectra.dtype)).transpose(1, 2)


def check_mels(rate: int, mels: int) -> None:
    """Raise InputError for a sample rate or a number of mel bands out of range."""
    check_integers(1, MAX_MELS, mels=mels)
    check_integers(1000, MAX_RATE, rate=rate)
