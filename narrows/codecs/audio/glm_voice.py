"""The encoder of GLM-4-Voice's speech tokenizer: half of Whisper's, made causal (Zeng et al., arXiv 2411.17607, 2.1).

    x ─ log-mel ─ conv 3 ─ conv 3, stride 2 ─ attention × depth ─ mean of `pool` ─▶ latents

Convolutions look back only, attention to the end of a block of 4 s only. A recording is encoded in pieces of 30 s that
do not see each other, as in the authors' code.
"""

import torch
from torch import Tensor, nn

from narrows.codecs.base import Encoder, Reach
from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.codecs.layers.whisper import HOP, WhisperAttention, WhisperBlock, WhisperMel
from narrows.errors import InputError
from narrows.parts import part

POSITIONS = 1500  # of a piece, after the convolutions
STRIDE = 2  # of the second convolution
KERNEL = 3
MAX_DEPTH = 128


@part("glm-voice-encoder")
class GLMVoiceEncoder(Encoder):
    """Mono audio (B, 1, T) of 16 kHz to latents (B, width, T / stride, rounded up).

    Args:
        width: D of the latents, and channels inside.
        depth: number of blocks.
        heads: of attention.
        mels: number of mel bands.
        block: positions, at 50 a second, that see each other and all before them.
        pool: positions of a latent, a divisor of 1500.
    """

    any_length = True
    positions: Tensor

    def __init__(
        self, width: int = 1280, depth: int = 16, heads: int = 20, mels: int = 128, block: int = 200, pool: int = 4
    ) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, width=width, block=block)
        check_integers(1, MAX_DEPTH, depth=depth)
        check_integers(1, POSITIONS, pool=pool)
        if POSITIONS % pool:
            raise InputError(f"expected pool to be a divisor of {POSITIONS}, got {pool}")
        self.channels, self.dim, self.stride = 1, width, (HOP * STRIDE * pool,)
        self.block, self.pool = block, pool
        self.mel = WhisperMel(mels)
        self.conv1 = nn.Conv1d(mels, width, KERNEL)
        self.conv2 = nn.Conv1d(width, width, KERNEL, STRIDE)
        self.register_buffer("positions", torch.zeros(POSITIONS, width))
        self.blocks = nn.ModuleList(WhisperBlock(width, WhisperAttention(width, heads)) for _ in range(depth))

    @property
    def reach(self) -> tuple[Reach, ...]:
        """Unbounded: the floor of the mel bands depends on the whole piece, attention on all before it in the piece."""
        return (None,)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, T) to (B, width, T / stride, rounded up)."""
        self.check_signal(x)
        pieces = x[:, 0].split(POSITIONS // self.pool * self.stride[0], 1)
        return torch.cat([self._encoded(piece) for piece in pieces], 1).transpose(1, 2)

    def _encoded(self, x: Tensor) -> Tensor:
        """A piece (B, T) to latents (B, F, width). What lies in the zeros after it is not attended to."""
        mels = self.mel(nn.functional.pad(x, (0, -x.shape[1] % self.stride[0]))).to(x.dtype)
        h = mels
        for conv in (self.conv1, self.conv2):
            h = nn.functional.gelu(conv(nn.functional.pad(h, (KERNEL - 1, 0))))
        h = h.transpose(1, 2) + self.positions[: h.shape[2]]
        place = torch.arange(h.shape[1], device=x.device)
        seen = (place <= place[:, None]) | (place // self.block == place[:, None] // self.block)
        mask = seen & (place < -(-x.shape[1] // (HOP * STRIDE)))
        for block in self.blocks:
            h = block(h, mask)
        return h.unflatten(1, (-1, self.pool)).mean(2)
