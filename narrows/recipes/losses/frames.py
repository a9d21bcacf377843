"""Losses of the spectra that a frame decoder predicts, before Griffin-Lim and the inverse STFT."""

import torch
from torch import Tensor, nn

from narrows.codecs.audio.frames import FrameDecoder
from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.recipes.losses.stft import FLOOR, magnitude_distance

MIN_MAGNITUDE = 1e-5  # smallest by which spectra are divided to get phases


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


class PhaseConsistencyLoss(nn.Module):
    """Distance between the phases that a frame decoder predicts and those that Griffin-Lim makes of them.

    Griffin-Lim makes phases consistent where frames overlap, and its result depends on where it starts. So the network
    learns phases that need few iterations or none. The distance is 1 - cos, weighted by magnitudes to the power 0.6.

    Args:
        iterations: Iterations of Griffin-Lim.
    """

    def __init__(self, iterations: int = 16) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, iterations=iterations)
        self.iterations = iterations

    def forward(self, decoder: FrameDecoder, latents: Tensor, target: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            decoder: Decoder whose prediction is compared.
            latents: Latents (B, D, F).
            target: Original signal, which is not used.

        Returns:
            A scalar from 0 to 2.
        """
        magnitudes, spectra = decoder.by_channel(*decoder.predict(latents))
        with torch.no_grad():
            consistent = decoder.stft.griffin_lim(magnitudes, spectra, self.iterations)
            consistent = consistent / consistent.abs().clamp(min=MIN_MAGNITUDE)
            weight = magnitudes**0.6 * (magnitudes > MIN_MAGNITUDE)  # weaker bins have no phase
        predicted = spectra / magnitudes.clamp(min=MIN_MAGNITUDE)  # no gradient reaches the magnitudes
        cosine = predicted.real * consistent.real + predicted.imag * consistent.imag
        return ((1 - cosine) * weight).sum() / weight.sum().clamp(min=MIN_MAGNITUDE)
