"""Loss between the spectra that a frame decoder predicts, before the inverse STFT, and the original's spectra."""

import torch
from torch import Tensor, nn

from narrows.codecs.audio.frames import FrameDecoder
from narrows.recipes.losses.stft import FLOOR, magnitude_distance


class FrameMagnitudeLoss(nn.Module):
    """Distance between magnitudes that a frame decoder predicts and the magnitudes of the original's STFT.

    It learns spectral envelopes and harmonics several times faster than losses on the decoded signal, whose gradients
    pass through phases that are still random early in training.

    Args:
        floor: As of MultiResolutionSTFTLoss.
    """

    def __init__(self, floor: float = FLOOR) -> None:
        super().__init__()
        self.floor = floor

    def forward(self, decoder: FrameDecoder, latents: Tensor, target: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            decoder: Decoder whose prediction is compared; its STFT is used for the original.
            latents: Latents (B, D, F).
            target: Original signal (B, C, T), T = F × stride.

        Returns:
            A scalar.
        """
        magnitudes, _ = decoder.predict(latents)
        norm = decoder.stft.window.square().sum().sqrt()
        with torch.no_grad():
            spectra = decoder.stft(target.flatten(0, 1).float()).unflatten(0, target.shape[:2])
            expected = spectra.abs().transpose(1, 2).flatten(2)  # (B, frames, C bins)
        return magnitude_distance(magnitudes / norm, expected / norm, self.floor)
