"""Filterbank features of Kaldi, on which speech models such as w2v-BERT are trained.

(B, T) ── frames of 25 ms, pre-emphasized, Povey's window ──▶ |STFT|² ── mel bands ── logarithm ──▶ (B, F, mels)
"""

import torch
from torch import Tensor, nn

from narrows.codecs.layers.mel import triangles

RATE = 16_000  # Hz
FRAME, HOP, N_FFT = 400, 160, 512  # samples
FULL_SCALE = 1 << 15  # of samples, which are 16-bit integers in Kaldi
LOWEST = 20.0  # Hz, of the mel bands
EMPHASIS = 0.97
FLOOR = 2.0**-23  # of the power of a band


def kaldi_filters(mels: int) -> Tensor:
    """Triangles on Kaldi's mel scale, 1127 ln(1 + f / 700), that are straight on that scale: (257, mels) float32."""
    ends = 1127.0 * (1 + torch.tensor([LOWEST, RATE / 2], dtype=torch.float64) / 700.0).log()
    steps = torch.arange(mels + 2, dtype=torch.float64) / (mels + 1)
    edges = ends[0] + steps * (ends[1] - ends[0])
    frequencies = torch.arange(N_FFT // 2 + 1, dtype=torch.float64) * (RATE / N_FFT)
    return triangles(1127.0 * (1 + frequencies / 700.0).log(), edges).float()


class KaldiFeatures(nn.Module):
    """Audio (B, T) of 16 kHz to logarithms of mel bands (B, F, mels), each of mean 0 and variance 1 over time.

    There is a frame for every 160 samples that begins a whole frame of 400.

    Args:
        mels: number of bands.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, mels: int = 80) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(FRAME, periodic=False) ** 0.85, persistent=False)
        self.register_buffer("filters", kaldi_filters(mels), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T), T at least 400, to (B, F, mels), at least float32."""
        x = x.to(torch.promote_types(x.dtype, torch.float32)) * FULL_SCALE
        frames = x.unfold(1, FRAME, HOP)
        frames = frames - frames.mean(2, keepdim=True)
        before = torch.cat([frames[..., :1], frames[..., :-1]], 2)
        spectra = torch.fft.rfft((frames - EMPHASIS * before) * self.window, N_FFT)
        power = spectra.real.square() + spectra.imag.square()
        logs = (power @ self.filters.to(power.dtype)).clamp(min=FLOOR).log()
        mean, variance = logs.mean(1, keepdim=True), logs.var(1, keepdim=True, correction=int(logs.shape[1] > 1))
        return (logs - mean) * (variance + 1e-7).rsqrt()
