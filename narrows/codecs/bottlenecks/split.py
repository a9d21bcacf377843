"""Split residual VQ: semantic and acoustic codebooks in parallel (Défossez et al., Moshi, arXiv 2410.00037, 3.3.3).

    ┌──▶ semantic ──▶ first codes  ┐
z ──┤                              + ──▶ latents
    └──▶ acoustic ──▶ other codes  ┘
"""

import torch
from torch import Tensor

from narrows.codecs.base import Bottleneck, Quantized
from narrows.codecs.bottlenecks.composition import all_radices, all_sizes, check_members, concatenate_codes
from narrows.codecs.bottlenecks.residual import ResidualVQ
from narrows.codecs.bottlenecks.vq import VQ
from narrows.parts import part


@part("split-residual-vq")
class SplitResidualVQ(Bottleneck):
    """Both bottlenecks quantize the same latents, neither the residual of the other, and their latents are summed.

    So the first codes can be distilled from a semantic model without loss of acoustic quality. Each bottleneck has its
    own projections. Losses and metrics are named by branch, as in 'semantic/commitment'.

    Args:
        semantic: any bottleneck, usually of one codebook; by default a VQ.
        acoustic: any bottleneck; by default a ResidualVQ of 7 codebooks.
    """

    def __init__(self, semantic: Bottleneck | None = None, acoustic: Bottleneck | None = None) -> None:
        super().__init__()
        self.semantic = VQ() if semantic is None else semantic
        self.acoustic = ResidualVQ(codebooks=7) if acoustic is None else acoustic
        check_members("branches", [self.semantic, self.acoustic], same_dim=True)
        self.dim = self.semantic.dim
        self.codebook_sizes = all_sizes([self.semantic, self.acoustic])
        self.first = len(self.semantic.codebook_sizes)
        self.prefixes = tuple(self.first + prefix for prefix in self.acoustic.prefixes)

    @property
    def radices(self) -> tuple[tuple[int, ...], ...]:
        """The radices of both branches."""
        return all_radices([self.semantic, self.acoustic])

    def forward(self, z: Tensor) -> Quantized:
        """Quantize latents (B, D, *grid)."""
        self._check_latents(z)
        branches = {"semantic": self.semantic(z.float()), "acoustic": self.acoustic(z.float())}
        semantic, acoustic = branches["semantic"], branches["acoustic"]
        losses = {f"{name}/{key}": value for name, q in branches.items() for key, value in q.item_losses.items()}
        metrics = {f"{name}/{key}": value for name, q in branches.items() for key, value in q.metrics.items()}
        latents = (semantic.latents + acoustic.latents).to(z.dtype)
        codes = concatenate_codes([semantic, acoustic])
        return Quantized(latents, codes, losses, semantic.bits + acoustic.bits, metrics)

    def encode(self, z: Tensor) -> Tensor:
        """Encode latents (B, D, *grid) to codes (B, K, *grid) int64."""
        self._check_latents(z)
        return torch.cat([self.semantic.encode(z), self.acoustic.encode(z)], 1)

    def decode(self, codes: Tensor) -> Tensor:
        """Decode codes (B, k, *grid) of the first k codebooks to latents (B, D, *grid) float32."""
        codes = self._check_codes(codes)
        latents = self.semantic.decode(codes[:, : self.first])
        if codes.shape[1] > self.first:
            latents = latents + self.acoustic.decode(codes[:, self.first :])
        return latents
