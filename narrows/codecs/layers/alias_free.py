"""Activations at twice the rate, so that the harmonics that they add do not alias (Karras et al., arXiv 2106.12423).

(B, C, T) ── upsampling by 2 ──▶ (B, C, 2 T) ── activation ──▶ (B, C, 2 T) ── downsampling by 2 ──▶ (B, C, T)
"""

import math

import torch
from torch import Tensor, nn

from narrows.codecs.layers.snake import SnakeBeta

TAPS = 12  # of both filters
REACH = 5  # positions to each side: 2.5 at the original rate of each filter


def low_pass_filter() -> Tensor:
    """A Kaiser-windowed sinc (TAPS,) that cuts at a quarter of the sample rate, of sum 1."""
    transition = 4 * 0.3 * math.pi  # its width in radians per sample; 0.3 of the sample rate to each side
    attenuation = 2.285 * (TAPS // 2 - 1) * transition + 7.95  # dB, by Kaiser's formula
    beta = 0.1102 * (attenuation - 8.7)  # for more than 50 dB
    window = torch.kaiser_window(TAPS, periodic=False, beta=beta, device="cpu")
    taps = window * torch.sinc((torch.arange(TAPS, device="cpu") - (TAPS - 1) / 2) / 2)
    return taps / taps.sum()


class AliasFree(nn.Module):
    """An activation of (B, C, T) at twice the rate; the first and last sample continue beyond the ends of the signal.

    Args:
        activation: the activation, named `act`.
    """

    taps: Tensor

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.act = activation
        self.register_buffer("taps", low_pass_filter(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) to the same shape."""
        channels = x.shape[1]
        taps = self.taps.to(x.dtype).expand(channels, 1, -1)
        margin = TAPS // 2 - 1
        padded = nn.functional.pad(x, (margin, margin), "replicate")
        up = nn.functional.conv_transpose1d(padded, 2 * taps, stride=2, groups=channels)
        cut = 2 * margin + TAPS // 2 - 1
        h = self.act(up[..., cut : up.shape[2] - cut])
        return nn.functional.conv1d(
            nn.functional.pad(h, (margin, margin + 1), "replicate"), taps, stride=2, groups=channels
        )


def alias_free_snake(channels: int) -> AliasFree:
    """SnakeBeta at twice the rate."""
    return AliasFree(SnakeBeta(channels))
