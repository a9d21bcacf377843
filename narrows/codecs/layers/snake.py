"""Periodic activations: Snake (Ziyin et al., arXiv 2006.08195) and SnakeBeta (BigVGAN, arXiv 2206.04658)."""

import torch
from torch import Tensor, nn

from narrows.codecs.checks import MAX_SIZE, check_integers

EPSILON = 1e-9  # as in descript-audio-codec and stable-audio-tools


class Snake(nn.Module):
    """x + sin²(α x) / (α + 1e-9) on (B, C, T), with one α for each channel.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, channels=channels)
        self.alpha = nn.Parameter(torch.ones(1, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) to the same shape."""
        return snake(x, self.alpha, (self.alpha + EPSILON).reciprocal())


class SnakeBeta(nn.Module):
    """x + sin²(eᵃ x) / (eᵇ + 1e-9) on (B, C, T): frequency and amplitude of each channel are learned as logarithms.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, channels=channels)
        self.alpha = nn.Parameter(torch.zeros(1, channels, 1))
        self.beta = nn.Parameter(torch.zeros(1, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) to the same shape."""
        return snake(x, self.alpha.exp(), (self.beta.exp() + EPSILON).reciprocal())


def snake(x: Tensor, frequency: Tensor, amplitude: Tensor) -> Tensor:
    """x + amplitude · sin²(frequency · x); frequency and amplitude (1, C, 1)."""
    if torch.is_grad_enabled():
        return x + amplitude * (frequency * x).sin().square()
    wave = x * frequency
    wave = wave.sin_().square_()  # in place, as large tensors cost more than the sine
    return torch.addcmul(x, wave, amplitude, out=wave)
