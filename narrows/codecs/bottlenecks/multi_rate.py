"""Residual VQ at several rates (Siuzdak et al., SNAC, arXiv 2410.14411, section 3.1).

One position of the grid holds `steps` steps, as channels: channel c · steps + s is channel c at step s.

    step        0   1   2   3
    every 4     ──── a ────      1 codebook a position
    every 2     ─ b ─   ─ c ─    2
    every 1     d   e   f   g    4
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from narrows.codecs.base import Bottleneck, Quantized
from narrows.codecs.bottlenecks.residual import Residual
from narrows.codecs.bottlenecks.vq import VQ
from narrows.codecs.checks import MOST, check_several, check_whole
from narrows.codecs.quantization.codebooks import EMACodebook
from narrows.errors import InputError
from narrows.parts import part


@part("at-rate")
class AtRate(Bottleneck):
    """A bottleneck at its own rate: the mean of `every` steps is quantized, and holds for all of them.

    bottleneck: of the channels of one step (VQ(8)).
    steps:      in a position of the grid, so D = steps · bottleneck.dim.
    every:      how many steps make one mean; divides `steps`.

    K is steps / every times the codebooks of the bottleneck, in the order of the steps.
    """

    def __init__(self, bottleneck: Bottleneck | None = None, steps: int = 4, every: int = 2) -> None:
        super().__init__()
        check_whole(1, MOST, steps=steps, every=every)
        self.bottleneck = VQ(8) if bottleneck is None else bottleneck
        if not isinstance(self.bottleneck, Bottleneck):
            raise InputError(f"{type(bottleneck).__name__} given, a bottleneck wanted")
        if steps % every:
            raise InputError(f"every={every} of steps={steps} given, a divisor wanted")
        self.dim, self.steps, self.every = steps * self.bottleneck.dim, steps, every
        self.codebook_sizes = self.bottleneck.codebook_sizes * (steps // every)
        self.prefixes = (len(self.codebook_sizes),)

    @property
    def radices(self) -> tuple[tuple[int, ...], ...]:
        """Those of the bottleneck, for each mean."""
        return self.bottleneck.radices * (self.steps // self.every)

    def forward(self, z: Tensor) -> Quantized:
        """Latents (B, D, *grid) to Quantized."""
        q = self.bottleneck(self._means(z))
        codes = None if q.codes is None else self._side_by_side(q.codes)
        return Quantized(self._repeated(q.latents).to(z.dtype), codes, q.losses, q.bits, q.metrics)

    def encode(self, z: Tensor) -> Tensor:
        """Latents (B, D, *grid) to codes (B, K, *grid) int64."""
        return self._side_by_side(self.bottleneck.encode(self._means(z)))

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, K, *grid) to latents (B, D, *grid) float32; the steps of missing codebooks are zeros."""
        codes = self._check_codes(codes)
        books, means = len(self.bottleneck.codebook_sizes), self.steps // self.every
        whole = codes.shape[1] // books
        if codes.shape[1] % books:
            raise InputError(f"codes of {codes.shape[1]} codebooks given, a multiple of {books} wanted")
        decoded = self.bottleneck.decode(codes.unflatten(1, (whole, books)).movedim(1, -1))  # (B, d, *grid, whole)
        return self._repeated(torch.nn.functional.pad(decoded, (0, means - whole)))

    def _means(self, z: Tensor) -> Tensor:
        """Latents (B, D, *grid) to means of steps (B, d, *grid, steps / every)."""
        self._check_latents(z)
        steps = z.float().unflatten(1, (self.bottleneck.dim, self.steps // self.every, self.every))
        return steps.mean(3).movedim(2, -1).contiguous()

    def _repeated(self, means: Tensor) -> Tensor:
        """Means (B, d, *grid, steps / every) to latents (B, D, *grid)."""
        return means.repeat_interleave(self.every, -1).movedim(-1, 2).flatten(1, 2)

    def _side_by_side(self, codes: Tensor) -> Tensor:
        """Codes (B, k, *grid, means) to (B, means · k, *grid)."""
        return codes.movedim(-1, 1).flatten(1, 2)


@part("multi-rate-vq")
class MultiRateVQ(Residual):
    """Residual VQ whose first codebooks are slow and whose last ones are fast.

    dim:      D of the latents on both sides.
    every:    for each stage how many steps share a code; all divide the largest, which is the steps in a position.
    entries:  V of each codebook; code_dim: channels of a step, reached by a linear projection of all.
    dropout:  probability, per item and in training only, that only the first few stages are decoded.
    """

    def __init__(
        self,
        dim: int = 64,
        every: Sequence[int] = (4, 2, 1),
        entries: int = 4096,
        code_dim: int = 8,
        dropout: float = 0.5,
    ) -> None:
        check_several(1, MOST, every=every)
        stages = [AtRate(VQ(code_dim, EMACodebook(code_dim, entries)), max(every), count) for count in every]
        super().__init__(dim, stages, dropout)
