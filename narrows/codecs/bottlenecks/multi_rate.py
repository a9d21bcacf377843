"""Multi-scale residual VQ: codebooks at several rates (Siuzdak et al., SNAC, arXiv 2410.14411, section 3.1).

One position of the grid holds `steps` time steps, as channels: channel c · steps + s is channel c at step s.

    step         0   1   2   3
    stride 4     ──── a ────      1 codebook per position
    stride 2     ─ b ─   ─ c ─    2
    stride 1     d   e   f   g    4
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from narrows.codecs.base import Bottleneck, Quantized
from narrows.codecs.bottlenecks.composition import check_count
from narrows.codecs.bottlenecks.residual import Residual
from narrows.codecs.bottlenecks.vq import VQ
from narrows.codecs.checks import MAX_SIZE, check_integer_lists, check_integers
from narrows.codecs.quantization.codebooks import EMACodebook
from narrows.errors import InputError
from narrows.parts import part


@part("strided")
class Strided(Bottleneck):
    """A bottleneck at a lower rate: `stride` steps are averaged, quantized together, and repeated.

    K is steps / stride times the codebooks of the bottleneck, ordered by step.

    Args:
        bottleneck: bottleneck for the channels of one step; by default VQ(8).
        steps: number of steps in a position of the grid, so D = steps · bottleneck.dim.
        stride: number of steps that are averaged, a divisor of `steps`.
    """

    def __init__(self, bottleneck: Bottleneck | None = None, steps: int = 4, stride: int = 2) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, steps=steps, stride=stride)
        self.bottleneck = VQ(8) if bottleneck is None else bottleneck
        if not isinstance(self.bottleneck, Bottleneck):
            raise InputError(f"expected a bottleneck, got {type(bottleneck).__name__}")
        if steps % stride:
            raise InputError(f"expected stride to divide steps={steps}, got {stride}")
        check_count(len(self.bottleneck.codebook_sizes) * (steps // stride))
        self.dim, self.steps, self.stride = steps * self.bottleneck.dim, steps, stride
        self.codebook_sizes = self.bottleneck.codebook_sizes * (steps // stride)
        self.prefixes = (len(self.codebook_sizes),)

    @property
    def radices(self) -> tuple[tuple[int, ...], ...]:
        """The radices of the bottleneck, for each average."""
        return self.bottleneck.radices * (self.steps // self.stride)

    def forward(self, z: Tensor) -> Quantized:
        """Quantize latents (B, D, *grid)."""
        q = self.bottleneck(self._pool(z))
        codes = None if q.codes is None else self._to_codebooks(q.codes)
        return Quantized(self._repeat(q.latents).to(z.dtype), codes, q.item_losses, q.bits, q.metrics)

    def encode(self, z: Tensor) -> Tensor:
        """Encode latents (B, D, *grid) to codes (B, K, *grid) int64."""
        return self._to_codebooks(self.bottleneck.encode(self._pool(z)))

    def decode(self, codes: Tensor) -> Tensor:
        """Decode codes (B, K, *grid) to latents (B, D, *grid) float32; the steps of missing codebooks are zeros."""
        codes = self._check_codes(codes)
        codebooks, averages = len(self.bottleneck.codebook_sizes), self.steps // self.stride
        given = codes.shape[1] // codebooks
        if codes.shape[1] % codebooks:
            raise InputError(f"expected codes of a multiple of {codebooks} codebooks, got {codes.shape[1]}")
        decoded = self.bottleneck.decode(codes.unflatten(1, (given, codebooks)).movedim(1, -1))  # (B, d, *grid, given)
        return self._repeat(torch.nn.functional.pad(decoded, (0, averages - given)))

    def _pool(self, z: Tensor) -> Tensor:
        """Average the steps of latents (B, D, *grid) to (B, d, *grid, steps / stride)."""
        self._check_latents(z)
        steps = z.float().unflatten(1, (self.bottleneck.dim, self.steps // self.stride, self.stride))
        return steps.mean(3).movedim(2, -1).contiguous()

    def _repeat(self, averages: Tensor) -> Tensor:
        """Repeat averages (B, d, *grid, steps / stride) to latents (B, D, *grid)."""
        return averages.repeat_interleave(self.stride, -1).movedim(-1, 2).flatten(1, 2)

    def _to_codebooks(self, codes: Tensor) -> Tensor:
        """Reshape codes (B, k, *grid, averages) to (B, averages · k, *grid)."""
        return codes.movedim(-1, 1).flatten(1, 2)


@part("multi-rate-vq")
class MultiRateVQ(Residual):
    """Residual VQ whose stages have different rates, usually the lowest first.

    Args:
        dim: D of the latents on both sides.
        strides: for each stage, the number of steps that share a code (SNAC's vq_strides); all divide the largest
            stride, which is the number of steps in a position.
        entries: number of codes of each codebook.
        code_dim: channels of a step, reached by a linear projection of all channels.
        dropout: probability, per item and in training only, that only a random prefix of the stages is decoded.
    """

    def __init__(
        self,
        dim: int = 64,
        strides: Sequence[int] = (4, 2, 1),
        entries: int = 4096,
        code_dim: int = 8,
        dropout: float = 0.5,
    ) -> None:
        check_integer_lists(1, MAX_SIZE, strides=strides)
        stages = [Strided(VQ(code_dim, EMACodebook(code_dim, entries)), max(strides), stride) for stride in strides]
        super().__init__(dim, stages, dropout)
