"""The front end and the blocks of Whisper's encoder (Radford et al., arXiv 2212.04356, section 2.2)."""

import torch
from torch import Tensor, nn

from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.codecs.layers.mel import MelSpectra, check_mels, slaney_filters
from narrows.errors import InputError

RATE = 16_000  # Hz
N_FFT, HOP = 400, 160  # samples
FLOOR = 1e-10  # of the power of a band
RANGE = 8.0  # powers of 10 below the loudest band of a recording
EPSILON = 1e-5  # of norms


class WhisperMel(nn.Module):
    """Audio (B, T) of 16 kHz, T a multiple of 160, to log-mel bands (B, mels, T / 160) of about -1 to 1.

    Bands of less than 1e-8 of the loudest one of the recording are raised to this: each frame depends on all of it.

    Args:
        mels: number of bands.
    """

    def __init__(self, mels: int) -> None:
        super().__init__()
        check_mels(RATE, mels)
        self.spectra = MelSpectra(slaney_filters(N_FFT // 2 + 1, mels, RATE), HOP, 2, centred=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T) to (B, mels, T / 160), at least float32."""
        logs = self.spectra(x).clamp(min=FLOOR).log10()
        return (torch.maximum(logs, logs.amax((1, 2), keepdim=True) - RANGE) + 4) / 4


class WhisperAttention(nn.Module):
    """(B, F, width) to the same: attention; keys have no bias.

    Args:
        width: length of the vectors.
        heads: number of heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, width=width, heads=heads)
        if width % heads:
            raise InputError(f"expected a width that {heads} heads can share, got {width}")
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, F, width) to the same shape; where the mask (F, F) is false, a row's position does not see a column's."""
        query, key, value = self.of_heads(self.query(x)), self.of_heads(self.key(x)), self.of_heads(self.value(x))
        return self.attend(query, key, value, mask)

    def of_heads(self, x: Tensor) -> Tensor:
        """(B, F, width) to (B, heads, F, width / heads)."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """Queries, keys and values (B, heads, F, width / heads) to the output (B, F, width)."""
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, mask)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out


class WhisperBlock(nn.Module):
    """(B, F, width) to the same: attention and a two-layer network, each after a norm and added to its input.

    Args:
        width: length of the vectors.
        attention: of this width.
    """

    def __init__(self, width: int, attention: WhisperAttention) -> None:
        super().__init__()
        self.attn_ln, self.attn = nn.LayerNorm(width, EPSILON), attention
        self.mlp_ln = nn.LayerNorm(width, EPSILON)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, F, width) to the same shape; mask as of the attention."""
        x = x + self.attn(self.attn_ln(x), mask)
        out: Tensor = x + self.mlp(self.mlp_ln(x))
        return out


def sinusoids(length: int, width: int) -> Tensor:
    """Positions as sines and cosines of wavelengths from 2 π to 10000 · 2 π: (length, width)."""
    steps = torch.arange(width // 2) / max(1, width // 2 - 1)
    angles = torch.arange(length)[:, None] * 10_000.0**-steps
    return torch.cat([angles.sin(), angles.cos()], 1)
