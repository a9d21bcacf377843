"""Residual quantization with any bottlenecks as stages (Zeghidour et al., SoundStream, arXiv 2107.03312, III-C).

z ── projection ──▶ r0 ── stage 0 ──▶ q0
                    r1 = r0 - q0 ── stage 1 ──▶ q1
                         r2 = r1 - q1 ── ...            latents = projection(q0 + q1 + ...)
"""

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn

from narrows.codecs.base import Bottleneck, Quantized
from narrows.codecs.bottlenecks.composition import (
    all_radices,
    all_sizes,
    as_bottlenecks,
    check_members,
    concatenate_codes,
    mean_by_name,
    split_codes,
    sum_by_name,
)
from narrows.codecs.bottlenecks.vq import VQ
from narrows.codecs.checks import MAX_SIZE, check_fraction, check_integers
from narrows.codecs.quantization.codebooks import EMACodebook
from narrows.codecs.quantization.dropout import draw_kept, masked, scale_gradient
from narrows.codecs.quantization.projection import Projection
from narrows.parts import part


@part("residual")
class Residual(Bottleneck):
    """Each stage codes the residual of the stages before; K is the sum of the codebooks of the stages.

    The residual of each stage is z minus a constant, so every stage would pass its whole gradient to z. Instead, z of
    an item gets the mean of the gradients of the stages that the item keeps.

    Losses are sums over the stages, and means over the batch, in which the losses of stages that an item drops are 0,
    as in descript-audio-codec. Losses that a stage returns as scalars, such as statistics of the whole batch
    ('diversity', 'norm') and the losses of vector-quantize-pytorch, count all items. Metrics are means over the stages.

    Args:
        dim: D of the latents on both sides; projected linearly if D differs from the dim of the stages.
        stages: bottlenecks that all have the same dim; by default 8 × VQ(8).
        dropout: probability, per item and in training only, that only a random prefix of the stages is decoded. Above 0
            every prefix of the stages can be decoded, at 0 only all of them.
    """

    def __init__(self, dim: int = 64, stages: Sequence[Bottleneck] | None = None, dropout: float = 0.5) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, dim=dim)
        check_fraction(dropout=dropout)
        members = check_members("stages", [VQ(8) for _ in range(8)] if stages is None else stages, same_dim=True)
        self.dim, self.dropout = dim, dropout
        self.stages = nn.ModuleList(members)
        self.projection = Projection(dim, members[0].dim)
        self.codebook_sizes = all_sizes(members)
        ends = tuple(accumulate(len(stage.codebook_sizes) for stage in members))
        self.prefixes = ends if dropout > 0 else ends[-1:]

    @property
    def radices(self) -> tuple[tuple[int, ...], ...]:
        """The radices of all stages."""
        return all_radices(as_bottlenecks(self.stages))

    def forward(self, z: Tensor) -> Quantized:
        """Quantize latents (B, D, *grid)."""
        self._check_latents(z)
        residual = self.projection.down(z).movedim(-1, 1)  # (B, d, *grid)
        kept = draw_kept(z.shape[0], len(self.stages), self.dropout if self.training else 0.0, z.device)
        outputs, losses = [], []
        total, bits = torch.zeros_like(residual), torch.zeros(z.shape[0], device=z.device)
        for k, stage in enumerate(as_bottlenecks(self.stages)):
            used = kept > k  # (B,)
            quantized: Quantized = stage(scale_gradient(residual, used / kept))
            total = total + quantized.latents * used.view(-1, *(1,) * (z.ndim - 1))
            bits = bits + torch.where(used, quantized.bits, 0)
            residual = residual - quantized.latents.detach()
            outputs.append(quantized)
            losses.append(masked(quantized.item_losses, used))
        latents = self.projection.up(total.movedim(1, -1)).to(z.dtype)
        metrics = mean_by_name([q.metrics for q in outputs])
        return Quantized(latents, concatenate_codes(outputs), sum_by_name(losses), bits, metrics)

    def encode(self, z: Tensor) -> Tensor:
        """Encode latents (B, D, *grid) to codes (B, K, *grid) int64."""
        self._check_latents(z)
        residual = self.projection.down(z).movedim(-1, 1)
        codes = []
        for stage in as_bottlenecks(self.stages):
            codes.append(stage.encode(residual))
            residual = residual - stage.decode(codes[-1])
        return torch.cat(codes, 1)

    def decode(self, codes: Tensor) -> Tensor:
        """Decode codes (B, k, *grid) of the first k codebooks to latents (B, D, *grid) float32."""
        codes = self._check_codes(codes)
        total: Tensor | float = 0.0
        for stage, stage_codes in zip(as_bottlenecks(self.stages), split_codes(codes, self.stages), strict=False):
            total = total + stage.decode(stage_codes)
        assert isinstance(total, Tensor)
        return self.projection.up(total.movedim(1, -1))


@part("residual-vq")
class ResidualVQ(Residual):
    """Residual VQ of speech and audio codecs: K EMA codebooks behind one projection.

    Args:
        dim: D of the latents on both sides.
        codebooks: number of codebooks K.
        entries: number of codes of each codebook.
        code_dim: length of the codes, reached by linear projections.
        dropout: probability, per item and in training only, that only a random prefix of the codebooks is decoded.
        decay: decay of the EMA, per training step.
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
        check_integers(1, MAX_SIZE, codebooks=codebooks)
        stages = [VQ(code_dim, EMACodebook(code_dim, entries, decay)) for _ in range(codebooks)]
        super().__init__(dim, stages, dropout)
