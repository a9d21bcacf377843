"""Resampling inside a network, by a windowed sinc as torchaudio has it by default."""

from math import ceil, gcd, pi

import torch
from torch import Tensor, nn

from narrows.codecs.checks import check_integers

ZEROS = 6  # of the sinc to each side
ROLLOFF = 0.99  # cutoff, of half the lower rate
MAX_RATE = 384_000


class Resample(nn.Module):
    """(B, C, T) at one rate to (B, C, T · to / rate, rounded up) at another.

    Args:
        rate: sample rate of the input, in Hz.
        to: sample rate of the output, in Hz.
    """

    filters: Tensor

    def __init__(self, rate: int, to: int) -> None:
        super().__init__()
        check_integers(1, MAX_RATE, rate=rate, to=to)
        self.old, self.new = rate // gcd(rate, to), to // gcd(rate, to)
        cutoff = min(self.old, self.new) * ROLLOFF
        self.margin = ceil(ZEROS * self.old / cutoff)  # samples to each side
        taps = torch.arange(-self.margin, self.margin + self.old, dtype=torch.float64) / self.old
        phases = torch.arange(self.new, dtype=torch.float64)[:, None] / self.new
        times = ((taps - phases) * cutoff).clamp(-ZEROS, ZEROS)
        filters = torch.sinc(times) * (times * (pi / ZEROS / 2)).cos().square() * (cutoff / self.old)
        self.register_buffer("filters", filters.float()[:, None], persistent=False)  # (new, 1, taps)

    @property
    def reach(self) -> int:
        """Samples of the input to each side on which an output depends."""
        return self.margin

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) to (B, C, T · to / rate, rounded up)."""
        if self.old == self.new:
            return x
        padded = nn.functional.pad(x.flatten(0, 1)[:, None], (self.margin, self.margin + self.old))
        phases = nn.functional.conv1d(padded, self.filters.to(x.dtype), stride=self.old)  # (B C, new, T / old)
        out = phases.transpose(1, 2).flatten(1)[:, : -(-x.shape[2] * self.new // self.old)]
        return out.unflatten(0, x.shape[:2])
