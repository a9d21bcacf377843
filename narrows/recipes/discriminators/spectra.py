"""Multi-resolution discriminator on complex short-time spectra (EnCodec, arXiv 2210.13438, section 3.4)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from narrows.recipes.discriminators.convolutions import Judge
from narrows.recipes.losses.spectral import ShortTime


class SpectrumDiscriminator(nn.Module):
    """Signals (B, 1, T) as pictures (B, 2, frames, bins) of real and imaginary parts."""

    def __init__(self, window: int, width: int) -> None:
        super().__init__()
        self.spectra = ShortTime(window)
        self.judge = Judge((2, width, width, width, width), (3, 9), (1, 2))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features of every layer, the scores last."""
        spectra = torch.view_as_real(self.spectra(x[:, 0]))  # (B, bins, frames, 2)
        features: list[Tensor] = self.judge(spectra.permute(0, 3, 2, 1))  # (B, 2, frames, bins)
        return features


class MultiSpectrumDiscriminator(nn.ModuleList):
    """One SpectrumDiscriminator a window size in samples; call each on the signal."""

    def __init__(self, windows: Sequence[int] = (1024, 512, 256), width: int = 32) -> None:
        super().__init__(SpectrumDiscriminator(window, width) for window in windows)
