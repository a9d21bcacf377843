"""Multi-resolution STFT discriminator of audio (EnCodec, Défossez et al., arXiv 2210.13438, section 3.4)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from narrows.recipes.discriminators.convolutions import ConvDiscriminator
from narrows.recipes.losses.stft import STFT


class STFTDiscriminator(nn.Module):
    """Discriminator of the real and imaginary part of a signal's STFT.

    Args:
        window: Samples of the STFT's window.
        width: Channels of each layer.
    """

    def __init__(self, window: int, width: int) -> None:
        super().__init__()
        self.stft = STFT(window)
        self.convs = ConvDiscriminator((2, width, width, width, width), (3, 9), (1, 2))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Compute the features of each layer from signals (B, 1, T), the logits last."""
        spectra = torch.view_as_real(self.stft(x[:, 0]))  # (B, bins, frames, 2)
        features: list[Tensor] = self.convs(spectra.permute(0, 3, 2, 1))  # (B, 2, frames, bins)
        return features


class MultiResolutionSTFTDiscriminator(nn.ModuleList):
    """A list of STFTDiscriminators, which are all called on the same signal.

    Args:
        windows: Samples of their windows.
        width: Channels of their layers.
    """

    def __init__(self, windows: Sequence[int] = (1024, 512, 256), width: int = 32) -> None:
        super().__init__(STFTDiscriminator(window, width) for window in windows)
