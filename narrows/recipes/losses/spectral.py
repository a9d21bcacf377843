"""Distances between short-time spectra at several resolutions.

Mel distances follow descript-audio-codec (Kumar et al., arXiv 2306.06546, section 3.5); the compressed magnitudes
follow Stevens' law of loudness, which spends the bits on what is loud enough to hear, not on the noise floor.
"""

from collections.abc import Sequence

import torch
import torchaudio
from torch import Tensor, nn

FLOOR = 1e-3  # magnitude below which a difference counts less and less: 60 dB under full scale
LOUDNESS = 0.3  # exponent from magnitude to loudness
LOUDNESS_WEIGHT = 4.0


class ShortTime(nn.Module):
    """Signals (B, T) to complex spectra (B, window / 2 + 1, frames).

    window: samples of the Hann window; the hop is a quarter of it. White noise of deviation s has magnitudes around s.
    """

    hann: Tensor

    def __init__(self, window: int) -> None:
        super().__init__()
        hann = torch.hann_window(window)
        self.window = window
        self.register_buffer("hann", hann / hann.square().sum().sqrt(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T) to (B, bins, frames), complex64."""
        hop = self.window // 4
        return torch.stft(x.float(), self.window, hop, window=self.hann, pad_mode="constant", return_complex=True)


class Spectrogram(nn.Module):
    """Signals (B, T) to magnitudes (B, bins, frames) of their short-time spectra.

    mels: triangular mel bands, or 0 for the Fourier bins.
    """

    bank: Tensor | None

    def __init__(self, window: int, sample_rate: int, mels: int = 0) -> None:
        super().__init__()
        self.spectra = ShortTime(window)
        bank = None
        if mels:
            bank = torchaudio.functional.melscale_fbanks(
                window // 2 + 1, 0.0, sample_rate / 2, mels, sample_rate, norm=None, mel_scale="slaney"
            ).T.contiguous()
            bank = bank / bank.sum(1, keepdim=True).clamp(min=1e-3)  # each band is a mean of its bins
        self.register_buffer("bank", bank, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T) to (B, bins, frames), float32."""
        spectra = self.spectra(x)
        magnitude = (spectra.real.square() + spectra.imag.square() + 1e-10).sqrt()
        return magnitude if self.bank is None else self.bank @ magnitude


def magnitude_distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean of |log a - log b| + 4 |a^0.3 - b^0.3| over magnitudes of the same shape, as a scalar."""
    a, b = a + FLOOR, b + FLOOR
    return (a / b).log().abs().mean() + LOUDNESS_WEIGHT * (a**LOUDNESS - b**LOUDNESS).abs().mean()


class SpectralDistance(nn.Module):
    """Mean over resolutions of the magnitude distance between two signals.

    resolutions: (window in samples, mel bands or 0) of each spectrogram.
    """

    def __init__(self, sample_rate: int, resolutions: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.spectrograms = nn.ModuleList(Spectrogram(window, sample_rate, mels) for window, mels in resolutions)

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """Two signals (B, 1, T) to a scalar."""
        total = torch.zeros((), device=x.device)
        for spectrogram in self.spectrograms:
            a = spectrogram(x[:, 0])
            with torch.no_grad():
                b = spectrogram(target[:, 0])
            total = total + magnitude_distance(a, b)
        return total / len(self.spectrograms)


class ComplexDistance(nn.Module):
    """Mean |a - b| between complex short-time spectra whose magnitudes are raised to the power 0.3; phases count.

    Keeps decoded waves in step with the given ones where the codes can afford it.
    """

    def __init__(self, window: int) -> None:
        super().__init__()
        self.spectra = ShortTime(window)

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """Two signals (B, 1, T) to a scalar."""
        return (self._compressed(x) - self._compressed(target)).abs().mean()

    def _compressed(self, x: Tensor) -> Tensor:
        spectra = self.spectra(x[:, 0])
        power = spectra.real.square() + spectra.imag.square() + FLOOR**2
        return torch.view_as_real(spectra * power ** ((LOUDNESS - 1) / 2))
