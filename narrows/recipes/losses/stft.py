"""Losses between short-time Fourier transforms (STFT) of signals.

The multi-resolution mel loss follows descript-audio-codec (Kumar et al., arXiv 2306.06546, section 3.5). Magnitudes are
also compared after compression with Stevens' power law of loudness, which weights audible parts over the noise floor.
"""

from collections.abc import Sequence

import torch
import torchaudio
from torch import Tensor, nn

FLOOR = 1e-3  # added to magnitudes before the logarithm: 60 dB below full scale
LOUDNESS_EXPONENT = 0.3  # from magnitude to loudness
LOUDNESS_WEIGHT = 4.0


class STFT(nn.Module):
    """Short-time Fourier transform with a Hann window of unit energy.

    White noise with standard deviation s has magnitudes of about s. Frames are centred and signals padded with zeros.

    Args:
        window: Samples of the window, also the size of the transform; the hop length is a quarter of it.
    """

    hann: Tensor

    def __init__(self, window: int) -> None:
        super().__init__()
        hann = torch.hann_window(window)
        self.window = window
        self.register_buffer("hann", hann / hann.square().sum().sqrt(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Compute spectra (B, window / 2 + 1, frames), complex64, of signals (B, T)."""
        hop = self.window // 4
        return torch.stft(x.float(), self.window, hop, window=self.hann, pad_mode="constant", return_complex=True)


class MagnitudeSpectrogram(nn.Module):
    """Magnitudes of the STFT, in its bins or in mel bands.

    Mel bands are triangles on Slaney's mel scale (`torchaudio.functional.melscale_fbanks`), each scaled to a sum of 1,
    so that a band is a weighted mean of its bins.

    Args:
        window: Samples of the STFT's window.
        sample_rate: Sample rate of the signals in Hz.
        mels: Number of mel bands from 0 Hz to half the sample rate; 0 keeps the bins.
    """

    mel_filters: Tensor | None

    def __init__(self, window: int, sample_rate: int, mels: int = 0) -> None:
        super().__init__()
        self.stft = STFT(window)
        filters = None
        if mels:
            filters = torchaudio.functional.melscale_fbanks(
                window // 2 + 1, 0.0, sample_rate / 2, mels, sample_rate, norm=None, mel_scale="slaney"
            ).T.contiguous()
            filters = filters / filters.sum(1, keepdim=True).clamp(min=1e-3)  # bands narrower than a bin may be empty
        self.register_buffer("mel_filters", filters, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Compute magnitudes (B, bins or mels, frames), float32, of signals (B, T)."""
        spectra = self.stft(x)
        magnitude = (spectra.real.square() + spectra.imag.square() + 1e-10).sqrt()
        if self.mel_filters is None:
            return magnitude
        with torch.autocast(x.device.type, enabled=False):
            return self.mel_filters @ magnitude


def magnitude_distance(a: Tensor, b: Tensor, floor: float = FLOOR) -> Tensor:
    """Mean of |log a - log b| + 4 |a^0.3 - b^0.3| over magnitudes of the same shape, a scalar."""
    a, b = a + floor, b + floor
    return (a / b).log().abs().mean() + LOUDNESS_WEIGHT * (a**LOUDNESS_EXPONENT - b**LOUDNESS_EXPONENT).abs().mean()


class MultiResolutionSTFTLoss(nn.Module):
    """Distance between magnitude spectrograms (see `magnitude_distance`), averaged over resolutions.

    Args:
        sample_rate: Sample rate of the signals in Hz.
        resolutions: Window in samples and number of mel bands, or 0 for STFT bins, of each spectrogram.
        floor: Magnitude that is added to all before the logarithm, 1 for full scale.
    """

    def __init__(self, sample_rate: int, resolutions: Sequence[tuple[int, int]], floor: float = FLOOR) -> None:
        super().__init__()
        self.floor = floor
        self.spectrograms = nn.ModuleList(
            MagnitudeSpectrogram(window, sample_rate, mels) for window, mels in resolutions
        )

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """Loss between two batches of signals (B, C, T), a scalar."""
        total = torch.zeros((), device=x.device)
        for spectrogram in self.spectrograms:
            a = spectrogram(x.flatten(0, 1))
            with torch.no_grad():
                b = spectrogram(target.flatten(0, 1))
            total = total + magnitude_distance(a, b, self.floor)
        return total / len(self.spectrograms)


class ComplexSTFTLoss(nn.Module):
    """Mean absolute difference of complex spectra with magnitudes raised to the power 0.3 and unchanged phases.

    It keeps the decoded waveform in phase with the original if the bitrate suffices.

    Args:
        window: Samples of the STFT's window.
    """

    def __init__(self, window: int) -> None:
        super().__init__()
        self.stft = STFT(window)

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """Loss between two batches of signals (B, C, T), a scalar."""
        return (self._compressed(x) - self._compressed(target)).abs().mean()

    def _compressed(self, x: Tensor) -> Tensor:
        spectra = self.stft(x.flatten(0, 1))
        power = spectra.real.square() + spectra.imag.square() + FLOOR**2
        return torch.view_as_real(spectra * power ** ((LOUDNESS_EXPONENT - 1) / 2))


class MidSide(nn.Module):
    """A loss of the two channels of stereo signals and of their mid (L + R) / 2 and side (L - R) / 2.

    Channels that only have the right magnitudes each may cancel in the mid or place a source elsewhere.

    Args:
        loss: Loss between two batches of signals (B, C, T).
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """Loss between two batches of signals (B, 2, T), a scalar."""
        value: Tensor = self.loss(_with_mid_and_side(x), _with_mid_and_side(target))
        return value


def _with_mid_and_side(x: Tensor) -> Tensor:
    left, right = x.unbind(1)
    return torch.stack((left, right, (left + right) / 2, (left - right) / 2), 1)
