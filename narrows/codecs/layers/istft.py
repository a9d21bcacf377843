"""Heads and windows of short-time Fourier transforms (STFT).

(B, F, width) ── linear ──▶ log magnitudes and phases (B, F, n_fft + 2) ── inverse STFT ──▶ (B, F × hop)
"""

import torch
from torch import Tensor, nn

from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.errors import InputError

MAX_MAGNITUDE = 1e2  # of a predicted bin
MIN_ENERGY = 1e-11  # of the windows over a sample


def check_frames(n_fft: int, hop: int) -> None:
    """Raise InputError unless frames of `n_fft` samples, an even number, overlap by at least half at this hop."""
    check_integers(1, MAX_SIZE, n_fft=n_fft, hop=hop)
    if n_fft % 2 or n_fft < 2 * hop:
        raise InputError(f"expected an even n_fft of at least 2 hop = {2 * hop}, got {n_fft}")


def samples_before(n_fft: int, hop: int, centred: bool) -> int:
    """Samples of the first frame that lie before the start of the signal.

    Args:
        n_fft: samples of a frame.
        hop: samples between frames.
        centred: whether frame k is centred on sample k × hop, else on the middle of the samples that belong to it.
    """
    return n_fft // 2 if centred else (n_fft - hop) // 2


class ISTFTHead(nn.Module):
    """Vectors of frames to samples: a linear layer predicts log magnitudes and phases (Vocos, arXiv 2306.00814, 3.3).

    F frames give F × hop samples. If frames are `centred`, `torch.istft` returns hop samples fewer: the part of the
    last frame after its centre is left out there.

    Args:
        width: length of the vectors.
        n_fft: samples of a frame, an even number of at least 2 hop.
        hop: samples between frames.
        centred: see `samples_before`.
    """

    window: Tensor

    def __init__(self, width: int, n_fft: int, hop: int, centred: bool = False) -> None:
        super().__init__()
        check_frames(n_fft, hop)
        self.n_fft, self.hop = n_fft, hop
        self.before = samples_before(n_fft, hop, centred)
        self.out = nn.Linear(width, n_fft + 2)
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)

    @property
    def reach(self) -> tuple[int, int]:
        """Frames before and after its own on which a block of hop samples depends; frames start with a weight of 0."""
        return (self.n_fft - self.before - 1) // self.hop, (self.hop + self.before - 2) // self.hop

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, width) to (B, F × hop), at least float32."""
        logs, phases = self.out(x).to(torch.promote_types(x.dtype, torch.float32)).chunk(2, 2)
        spectra = torch.polar(logs.exp().clamp(max=MAX_MAGNITUDE), phases)
        frames = torch.fft.irfft(spectra, self.n_fft) * self.window
        energy = self.window.square().expand(1, x.shape[1], -1)
        return self._overlapped(frames) / self._overlapped(energy).clamp(min=MIN_ENERGY)

    def _overlapped(self, frames: Tensor) -> Tensor:
        """Sum of frames (B, F, n_fft), each `hop` samples after the one before."""
        count = frames.shape[1]
        size = (1, (count - 1) * self.hop + self.n_fft)
        total = nn.functional.fold(frames.transpose(1, 2), size, (1, self.n_fft), stride=(1, self.hop))
        return total[:, 0, 0, self.before : self.before + count * self.hop]
