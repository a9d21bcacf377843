"""Bottlenecks side by side, each with channels of its own.

                  ┌ channels of member 0 ──▶ member 0 ┐
z ── projection ──┤ channels of member 1 ──▶ member 1 ├── projection ──▶ latents
                  └ ...                               ┘
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from narrows.codecs.base import Bottleneck, Quantized
from narrows.codecs.bottlenecks.composition import averaged, check_members, cut, joined, listed, sizes
from narrows.codecs.bottlenecks.residual import Residual
from narrows.codecs.bottlenecks.vq import VQ
from narrows.codecs.checks import MOST, check_whole
from narrows.codecs.quantization.attention_projection import AttentionProjection
from narrows.codecs.quantization.codebooks import EMACodebook, LearnedCodebook
from narrows.codecs.quantization.estimators import StraightThrough
from narrows.codecs.quantization.projection import Projection
from narrows.errors import InputError
from narrows.parts import part


@part("grouped")
class Grouped(Bottleneck):
    """Cuts the channels into one piece for each member; K is the sum of the codebooks of the members.

    dim:        D of the latents on both sides.
    members:    bottlenecks, of any dims (4 of VQ(8)); the sum of their dims is what the latents are projected to.
    projection: how to get there and back, a Projection or an AttentionProjection (a Projection).

    Losses and metrics are means over the members.
    """

    def __init__(
        self,
        dim: int = 64,
        members: Sequence[Bottleneck] | None = None,
        projection: Projection | AttentionProjection | None = None,
    ) -> None:
        super().__init__()
        check_whole(1, MOST, dim=dim)
        given = check_members("members", [VQ(8) for _ in range(4)] if members is None else members, same_dim=False)
        self.dim, self.widths = dim, [member.dim for member in given]
        self.members = nn.ModuleList(given)
        self.projection = Projection(dim, sum(self.widths)) if projection is None else projection
        if not isinstance(self.projection, Projection | AttentionProjection):
            raise InputError(f"projection of type {type(projection).__name__} given, a Projection wanted")
        fit = self.projection.dim == dim and self.projection.inner == sum(self.widths)
        if not fit:
            found = f"a projection from {self.projection.dim} to {self.projection.inner} channels"
            raise InputError(f"{found} given, from {dim} to {sum(self.widths)} wanted")
        self.codebook_sizes = sizes(given)
        self.prefixes = (len(self.codebook_sizes),)

    @property
    def radices(self) -> tuple[tuple[int, ...], ...]:
        """Those of the members."""
        return tuple(digits for member in listed(self.members) for digits in member.radices)

    def forward(self, z: Tensor) -> Quantized:
        """Latents (B, D, *grid) to Quantized."""
        parts = [member(piece) for member, piece in zip(listed(self.members), self._pieces(z), strict=True)]
        latents = self.projection.up(torch.cat([q.latents for q in parts], 1).movedim(1, -1)).to(z.dtype)
        codes = joined(parts)
        bits = torch.stack([q.bits for q in parts]).sum(0)
        return Quantized(
            latents, codes, averaged([q.losses for q in parts]), bits, averaged([q.metrics for q in parts])
        )

    def encode(self, z: Tensor) -> Tensor:
        """Latents (B, D, *grid) to codes (B, K, *grid) int64."""
        pieces = self._pieces(z)
        return torch.cat([member.encode(piece) for member, piece in zip(listed(self.members), pieces, strict=True)], 1)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, k, *grid), the first k codebooks, to latents (B, D, *grid) float32; missing members give zeros."""
        codes = self._check_codes(codes)
        pieces = [
            member.decode(its) for member, its in zip(listed(self.members), cut(codes, self.members), strict=False)
        ]
        missing = sum(self.widths[len(pieces) :])
        together = torch.cat(pieces, 1).movedim(1, -1)
        return self.projection.up(nn.functional.pad(together, (0, missing)))

    def _pieces(self, z: Tensor) -> tuple[Tensor, ...]:
        self._check_latents(z)
        return self.projection.down(z).movedim(-1, 1).split(self.widths, 1)


@part("multi-codebook")
class MultiCodebook(Grouped):
    """Multi-codebook quantization (Ma et al., UniTok, arXiv 2502.20321, section 3.2): a sub-codebook for each chunk.

    The gradient is straight-through, as theirs: measured better here than the rotation trick.

    dim:        D of the latents on both sides.
    codebooks:  K, as many chunks; entries: V of each sub-codebook, on the unit sphere; code_dim: channels of a chunk.
    projection: from D to codebooks · code_dim channels and back; UniTok has an AttentionProjection (a Projection).
    """

    def __init__(
        self,
        dim: int = 64,
        codebooks: int = 8,
        entries: int = 4096,
        code_dim: int = 8,
        projection: Projection | AttentionProjection | None = None,
    ) -> None:
        check_whole(1, MOST, codebooks=codebooks)
        books = [LearnedCodebook(code_dim, entries, cosine=True) for _ in range(codebooks)]
        members = [VQ(code_dim, book, StraightThrough()) for book in books]
        super().__init__(dim, members, projection)


@part("grouped-residual-vq")
class GroupedResidualVQ(Residual):
    """Residual VQ in groups of channels (Yang et al., HiFi-Codec, arXiv 2305.02765, section 3.2).

    Every stage quantizes each group with a codebook of its own. The codebooks are ordered by stage, so that a prefix
    gives each group as much.

    dim:       D of the latents on both sides; groups: pieces; stages: codebooks of a group, K = groups · stages.
    entries:   V of each codebook; code_dim: channels of a group, reached by a linear projection of all.
    dropout:   probability, per item and in training only, that only the first few stages are decoded.
    """

    def __init__(
        self,
        dim: int = 64,
        groups: int = 2,
        stages: int = 4,
        entries: int = 1024,
        code_dim: int = 8,
        dropout: float = 0.5,
    ) -> None:
        check_whole(1, MOST, groups=groups, stages=stages, code_dim=code_dim)
        books = [[VQ(code_dim, EMACodebook(code_dim, entries)) for _ in range(groups)] for _ in range(stages)]
        super().__init__(dim, [Grouped(groups * code_dim, of_stage) for of_stage in books], dropout)
