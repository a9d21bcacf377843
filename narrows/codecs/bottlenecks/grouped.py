"""Grouped quantization: a bottleneck for each group of channels.

                  ┌ channels of member 0 ──▶ member 0 ┐
z ── projection ──┤ channels of member 1 ──▶ member 1 ├── projection ──▶ latents
                  └ ...                               ┘
"""

from collections.abc import Sequence

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
)
from narrows.codecs.bottlenecks.residual import Residual
from narrows.codecs.bottlenecks.vq import VQ
from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.codecs.quantization.attention_projection import AttentionProjection
from narrows.codecs.quantization.codebooks import EMACodebook
from narrows.codecs.quantization.projection import Projection
from narrows.errors import InputError
from narrows.parts import part


@part("grouped")
class Grouped(Bottleneck):
    """Splits the channels into one group per member; K is the sum of the codebooks of the members.

    Losses and metrics are means over the members.

    Args:
        dim: D of the latents on both sides.
        members: bottlenecks of any dims; the latents are projected to the sum of their dims. By default 4 × VQ(8).
        projection: projection to the members' channels and back; by default a Projection.
    """

    def __init__(
        self,
        dim: int = 64,
        members: Sequence[Bottleneck] | None = None,
        projection: Projection | AttentionProjection | None = None,
    ) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, dim=dim)
        given = check_members("members", [VQ(8) for _ in range(4)] if members is None else members, same_dim=False)
        self.dim, self.widths = dim, [member.dim for member in given]
        self.members = nn.ModuleList(given)
        self.projection = Projection(dim, sum(self.widths)) if projection is None else projection
        if not isinstance(self.projection, Projection | AttentionProjection):
            raise InputError(f"expected a Projection or AttentionProjection, got {type(projection).__name__}")
        if self.projection.dim != dim or self.projection.inner != sum(self.widths):
            given_dims = f"{self.projection.dim} to {self.projection.inner}"
            raise InputError(f"expected a projection from {dim} to {sum(self.widths)} channels, got {given_dims}")
        self.codebook_sizes = all_sizes(given)
        self.prefixes = (len(self.codebook_sizes),)

    @property
    def radices(self) -> tuple[tuple[int, ...], ...]:
        """The radices of all members."""
        return all_radices(as_bottlenecks(self.members))

    def forward(self, z: Tensor) -> Quantized:
        """Quantize latents (B, D, *grid)."""
        outputs = [member(group) for member, group in zip(as_bottlenecks(self.members), self._split(z), strict=True)]
        latents = self.projection.up(torch.cat([q.latents for q in outputs], 1).movedim(1, -1)).to(z.dtype)
        bits = torch.stack([q.bits for q in outputs]).sum(0)
        losses, metrics = mean_by_name([q.item_losses for q in outputs]), mean_by_name([q.metrics for q in outputs])
        return Quantized(latents, concatenate_codes(outputs), losses, bits, metrics)

    def encode(self, z: Tensor) -> Tensor:
        """Encode latents (B, D, *grid) to codes (B, K, *grid) int64."""
        groups = zip(as_bottlenecks(self.members), self._split(z), strict=True)
        return torch.cat([member.encode(group) for member, group in groups], 1)

    def decode(self, codes: Tensor) -> Tensor:
        """Decode codes (B, k, *grid) of the first k codebooks to latents (B, D, *grid) float32.

        Missing groups are zeros.
        """
        codes = self._check_codes(codes)
        pairs = zip(as_bottlenecks(self.members), split_codes(codes, self.members), strict=False)
        groups = [member.decode(member_codes) for member, member_codes in pairs]
        missing = sum(self.widths[len(groups) :])
        return self.projection.up(nn.functional.pad(torch.cat(groups, 1).movedim(1, -1), (0, missing)))

    def _split(self, z: Tensor) -> tuple[Tensor, ...]:
        self._check_latents(z)
        return self.projection.down(z).movedim(-1, 1).split(self.widths, 1)


@part("grouped-residual-vq")
class GroupedResidualVQ(Residual):
    """Group-residual VQ (Yang et al., HiFi-Codec, arXiv 2305.02765, section 3.2).

    Every stage quantizes each group of channels with a codebook of its own. Codebooks are ordered by stage, so a prefix
    gives every group the same number of codes. K = groups · stages.

    Args:
        dim: D of the latents on both sides.
        groups: groups of channels.
        stages: codebooks of each group.
        entries: number of codes of each codebook.
        code_dim: channels of a group, reached by a linear projection of all channels.
        dropout: probability, per item and in training only, that only a random prefix of the stages is decoded.
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
        check_integers(1, MAX_SIZE, groups=groups, stages=stages, code_dim=code_dim)
        members = [[VQ(code_dim, EMACodebook(code_dim, entries)) for _ in range(groups)] for _ in range(stages)]
        super().__init__(dim, [Grouped(groups * code_dim, of_stage) for of_stage in members], dropout)
