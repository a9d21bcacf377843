"""Residual quantization with any bottlenecks as stages (Zeghidour et al., SoundStream, arXiv 2107.03312, III-C).

z ── projection ──▶ r0 ── stage 0 ──▶ q0
                    r1 = r0 - q0 ── stage 1 ──▶ q1
                         r2 = r1 - q1 ── ...            latents = projection(q0 + q1 + ...)
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn

from narrows.codecs.base import Bottleneck, Quantized
from narrows.codecs.bottlenecks.composition import averaged, check_members, cut, joined, listed, sizes, summed
from narrows.codecs.bottlenecks.vq import VQ
from narrows.codecs.checks import MOST, check_share, check_whole
from narrows.codecs.quantization.codebooks import EMACodebook
from narrows.codecs.quantization.dropout import drawn
from narrows.codecs.quantization.projection import Projection
from narrows.parts import part


class _Shared(torch.autograd.Function):
    """x (B, ...) as it is; its gradient divided by a number (B,) of each item."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, parts: Tensor) -> Tensor:
        ctx.save_for_backward(parts)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (parts,) = ctx.saved_tensors
        return gradient / parts.view(-1, *(1,) * (gradient.ndim - 1)), None


def _shared(x: Tensor, parts: Tensor) -> Tensor:
    passed: Tensor = _Shared.apply(x, parts)  # type: ignore[no-untyped-call]
    return passed


@part("residual")
class Residual(Bottleneck):
    """Each stage codes what the ones before left over; K is the sum of the codebooks of the stages.

    dim:     D of the latents on both sides, projected linearly to the dim of the stages where that differs.
    stages:  bottlenecks of one dim (8 of VQ(8)).
    dropout: probability, per item and in training only, that only the first few stages are decoded. Above 0, what the
             stages before any of them make up can be decoded; at 0, only the whole.

    A stage sees z less a constant, so each would pass on the whole gradient of the latents to z: an item's z gets the
    mean of the gradients of the stages that it keeps, of losses as of latents. Losses are sums over the stages, metrics
    means.
    """

    def __init__(self, dim: int = 64, stages: Sequence[Bottleneck] | None = None, dropout: float = 0.5) -> None:
        super().__init__()
        check_whole(1, MOST, dim=dim)
        check_share(dropout=dropout)
        members = check_members("stages", [VQ(8) for _ in range(8)] if stages is None else stages, same_dim=True)
        self.dim, self.dropout = dim, dropout
        self.stages = nn.ModuleList(members)
        self.projection = Projection(dim, members[0].dim)
        self.codebook_sizes = sizes(members)
        ends = tuple(accumulate(len(stage.codebook_sizes) for stage in members))
        self.prefixes = ends if dropout > 0 else ends[-1:]

    @property
    def radices(self) -> tuple[tuple[int, ...], ...]:
        """Those of the stages."""
        return tuple(digits for stage in listed(self.stages) for digits in stage.radices)

    def forward(self, z: Tensor) -> Quantized:
        """Latents (B, D, *grid) to Quantized."""
        self._check_latents(z)
        rest = self.projection.down(z).movedim(-1, 1)  # (B, d, *grid)
        kept = drawn(len(z), len(self.stages), self.dropout if self.training else 0.0, z.device)
        parts, total, bits = [], torch.zeros_like(rest), torch.zeros(len(z), device=z.device)
        for k, stage in enumerate(listed(self.stages)):
            quantized: Quantized = stage(_shared(rest, kept))
            uses = kept > k  # (B,)
            total = total + quantized.latents * uses.view(-1, *(1,) * (z.ndim - 1))
            bits = bits + torch.where(uses, quantized.bits, 0)
            rest = rest - quantized.latents.detach()
            parts.append(quantized)
        latents = self.projection.up(total.movedim(1, -1)).to(z.dtype)
        codes = joined(parts)
        losses, metrics = summed([q.losses for q in parts]), averaged([q.metrics for q in parts])
        return Quantized(latents, codes, losses, bits, metrics)

    def encode(self, z: Tensor) -> Tensor:
        """Latents (B, D, *grid) to codes (B, K, *grid) int64."""
        self._check_latents(z)
        rest = self.projection.down(z).movedim(-1, 1)
        codes = []
        for stage in listed(self.stages):
            codes.append(stage.encode(rest))
            rest = rest - stage.decode(codes[-1])
        return torch.cat(codes, 1)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, k, *grid), the first k codebooks, to latents (B, D, *grid) float32."""
        codes = self._check_codes(codes)
        total: Tensor | float = 0.0
        for stage, its_codes in zip(listed(self.stages), cut(codes, self.stages), strict=False):
            total = total + stage.decode(its_codes)
        assert isinstance(total, Tensor)
        return self.projection.up(total.movedim(1, -1))


@part("residual-vq")
class ResidualVQ(Residual):
    """Residual VQ as codecs of speech use it: K = `codebooks` codebooks of `entries` vectors that are running means.

    dim:      D of the latents on both sides; code_dim: length of the vectors, reached by linear projections.
    dropout:  probability, per item and in training only, that only the first few codebooks are decoded.
    decay:    of the running means.
    """

    def __init__(
        self,
        dim: int = 64,
        codebooks: int = 8,
        entries: int = 1024,
        code_dim: int = 8,
        dropout: float = 0.5,
        decay: float = 0.99,
    ) -> None:
        check_whole(1, MOST, codebooks=codebooks)
        stages = [VQ(code_dim, EMACodebook(code_dim, entries, decay)) for _ in range(codebooks)]
        super().__init__(dim, stages, dropout)
