"""The encoders of the S3 tokenizers of CosyVoice, trained on speech recognition (arXiv 2407.05407 and 2412.10117).

    x ─ log-mel ─ conv 3 ─ conv 3, stride 2 ─ attention × depth ─▶ latents

Both see the whole recording. One of more than 30 s is encoded in windows of 30 s that overlap by 4 s, of which 2 s at
each inner edge are dropped, as in the package s3tokenizer. The package also begins a window in the last 4 s that the
window before has seen already, and loses tokens by it; here the window that reaches the end is the last one.
"""

import torch
from torch import Tensor, nn

from narrows.codecs.base import Encoder, Reach
from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.codecs.layers.whisper import HOP, WhisperAttention, WhisperBlock, WhisperMel
from narrows.errors import InputError
from narrows.parts import part

WINDOW, OVERLAP = 3000, 400  # mel frames
MEMORY = 31  # kernel of the memory of values
BASE = 10_000.0  # of the wavelengths of rotations
MAX_DEPTH = 128


class S3Base(Encoder):
    """What both encoders share: a subclass sets `blocks`, and says what happens before and after them.

    Args:
        dim: D of the latents.
        width: channels inside.
        mels: number of mel bands.
        first: stride of the first convolution.
    """

    any_length = True
    blocks: nn.ModuleList

    def __init__(self, dim: int, width: int, mels: int, first: int) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, dim=dim, width=width)
        check_integers(1, 2, first=first)
        self.channels, self.dim = 1, dim
        self.frames = 2 * first  # mel frames of a latent
        self.stride = (HOP * self.frames,)
        self.mel = WhisperMel(mels)
        self.conv1 = nn.Conv1d(mels, width, 3, first, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, 2, padding=1)

    @property
    def reach(self) -> tuple[Reach, ...]:
        """Unbounded: attention, and the floor of the mel bands, see the whole signal."""
        return (None,)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, T) to (B, dim, T / stride, rounded up)."""
        self.check_signal(x)
        mels = self.mel(nn.functional.pad(x[:, 0], (0, -x.shape[2] % HOP))).to(x.dtype)
        latents, done, count = list[Tensor](), 0, mels.shape[2]
        for start in range(0, max(1, count - OVERLAP), WINDOW - OVERLAP):
            stop = min(start + WINDOW, count)
            kept = -(-count // self.frames) if stop == count else (stop - OVERLAP // 2) // self.frames
            made = self._encoded(mels[:, :, start:stop])
            latents.append(made[:, done - start // self.frames : kept - start // self.frames])
            done = kept
        return torch.cat(latents, 1).transpose(1, 2)

    def _encoded(self, mels: Tensor) -> Tensor:
        """A window of mel bands (B, mels, n) to latents (B, F, dim)."""
        h = nn.functional.gelu(self.conv2(nn.functional.gelu(self.conv1(mels)))).transpose(1, 2)
        h = self._placed(h)
        for block in self.blocks:
            h = block(h)
        return self._finished(h)

    def _placed(self, h: Tensor) -> Tensor:
        """Vectors (B, F, width) before the blocks, with what tells their positions."""
        return h

    def _finished(self, h: Tensor) -> Tensor:
        """Vectors (B, F, width) after the blocks to latents (B, F, dim)."""
        return h


@part("s3-encoder")
class S3Encoder(S3Base):
    """Version 1. Mono audio (B, 1, T) of 16 kHz to latents (B, width, T / stride, rounded up) of length 1.

    Args:
        width: D of the latents, and channels inside.
        depth: number of blocks.
        heads: of attention.
        mels: number of mel bands.
        first: stride of the first convolution: 1 for 50 latents a second, 2 for 25.
    """

    positional_embedding: Tensor

    def __init__(self, width: int = 1280, depth: int = 6, heads: int = 20, mels: int = 128, first: int = 1) -> None:
        super().__init__(width, width, mels, first)
        check_integers(1, MAX_DEPTH, depth=depth)
        self.register_buffer("positional_embedding", torch.zeros(WINDOW // 2, width))
        self.blocks = nn.ModuleList(WhisperBlock(width, WhisperAttention(width, heads)) for _ in range(depth))

    def _placed(self, h: Tensor) -> Tensor:
        return h + self.positional_embedding[: h.shape[1]]

    def _finished(self, h: Tensor) -> Tensor:
        return nn.functional.normalize(h.to(torch.promote_types(h.dtype, torch.float32)), dim=2).to(h.dtype)


class MemoryAttention(WhisperAttention):
    """Attention to relative positions, plus a convolution of the values over time (FSMN, arXiv 1512.08301)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads)
        if width // heads % 2:
            raise InputError(f"expected heads of an even width, got {width} / {heads}")
        self.fsmn_block = nn.Conv1d(width, width, MEMORY, padding=MEMORY // 2, groups=width, bias=False)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, F, width) to the same shape."""
        value = self.value(x)
        memory = self.fsmn_block(value.transpose(1, 2)).transpose(1, 2) + value
        query, key = rotated(self.of_heads(self.query(x))), rotated(self.of_heads(self.key(x)))
        return self.attend(query, key, self.of_heads(value), mask) + memory


def rotated(x: Tensor) -> Tensor:
    """Vectors (..., F, d), channels i and i + d / 2 rotated by an angle that grows with the position."""
    half = x.shape[-1] // 2
    speeds = BASE ** (-torch.arange(half, device=x.device) / half)
    angles = (torch.arange(x.shape[-2], device=x.device)[:, None] * speeds).to(x.dtype)
    cos, sin = angles.cos(), angles.sin()
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


@part("s3-memory-encoder")
class S3MemoryEncoder(S3Base):
    """Versions 2 and 3. Mono audio (B, 1, T) of 16 kHz to latents (B, dim, T / 640, rounded up).

    Args:
        dim: D of the latents: scalars that are quantized.
        width: channels inside.
        depth: number of blocks: 6 in version 2, 12 in version 3.
        heads: of attention.
        mels: number of mel bands.
    """

    def __init__(self, dim: int = 8, width: int = 1280, depth: int = 6, heads: int = 20, mels: int = 128) -> None:
        super().__init__(dim, width, mels, 2)
        check_integers(1, MAX_DEPTH, depth=depth)
        self.blocks = nn.ModuleList(WhisperBlock(width, MemoryAttention(width, heads)) for _ in range(depth))
        self.project_down = nn.Linear(width, dim)

    def _finished(self, h: Tensor) -> Tensor:
        out: Tensor = self.project_down(h)
        return out
