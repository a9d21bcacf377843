"""What a frame decoder predicts, held against the spectra of the given signal, without a synthesis in between."""

import torch
from torch import Tensor, nn

from narrows.codecs.audio.frames import FrameDecoder
from narrows.recipes.losses.spectral import magnitude_distance


class FrameMagnitudes(nn.Module):
    """Distance between predicted and true magnitudes of the decoder's own short-time spectra.

    Learns envelopes and harmonics several times faster than losses on the signal, whose gradients must pass phases that
    are still arbitrary.
    """

    def forward(self, decoder: FrameDecoder, latents: Tensor, target: Tensor) -> Tensor:
        """Latents (B, D, F) and the signal (B, 1, T) that they stand for, T = F stride, to a scalar."""
        magnitudes, _ = decoder.predict(latents)
        norm = decoder.spectra.window.square().sum().sqrt()
        with torch.no_grad():
            wanted = decoder.spectra(target[:, 0].float()).abs()
        return magnitude_distance(magnitudes / norm, wanted / norm)
