"""A semantic codebook beside acoustic ones (Défossez et al., Moshi, arXiv 2410.00037, section 3.3.3).

    ┌──▶ semantic ──▶ first codes  ┐
z ──┤                              + ──▶ latents
    └──▶ acoustic ──▶ other codes  ┘
"""

import torch
from torch import Tensor

from narrows.codecs.base import Bottleneck, Quantized
from narrows.codecs.bottlenecks.composition import check_members, joined, sizes
from narrows.codecs.bottlenecks.residual import ResidualVQ
from narrows.codecs.bottlenecks.vq import VQ
from narrows.parts import part


@part("split-residual-vq")
class SplitResidualVQ(Bottleneck):
    """Both bottlenecks see the same latents, neither what the other left over, and their latents are summed.

    The first codes can so be taught what is said without giving up how it sounds. Each has projections of its own.

    semantic: any bottleneck, usually of one codebook (a VQ); acoustic: any (a ResidualVQ of 7 codebooks).

    Losses and metrics carry the branch in their names, as in 'semantic/commitment'.
    """

    def __init__(self, semantic: Bottleneck | None = None, acoustic: Bottleneck | None = None) -> None:
        super().__init__()
        self.semantic = VQ() if semantic is None else semantic
        self.acoustic = ResidualVQ(codebooks=7) if acoustic is None else acoustic
        check_members("branches", [self.semantic, self.acoustic], same_dim=True)
        self.dim = self.semantic.dim
        self.codebook_sizes = sizes([self.semantic, self.acoustic])
        self.first = len(self.semantic.codebook_sizes)
        self.prefixes = tuple(self.first + prefix for prefix in self.acoustic.prefixes)

    @property
    def radices(self) -> tuple[tuple[int, ...], ...]:
        """Those of both."""
        return self.semantic.radices + self.acoustic.radices

    def forward(self, z: Tensor) -> Quantized:
        """Latents (B, D, *grid) to Quantized."""
        self._check_latents(z)
        branches = {"semantic": self.semantic(z.float()), "acoustic": self.acoustic(z.float())}
        first, other = branches["semantic"], branches["acoustic"]
        losses = {f"{name}/{key}": value for name, q in branches.items() for key, value in q.losses.items()}
        metrics = {f"{name}/{key}": value for name, q in branches.items() for key, value in q.metrics.items()}
        latents = (first.latents + other.latents).to(z.dtype)
        return Quantized(latents, joined([first, other]), losses, first.bits + other.bits, metrics)

    def encode(self, z: Tensor) -> Tensor:
        """Latents (B, D, *grid) to codes (B, K, *grid) int64."""
        self._check_latents(z)
        return torch.cat([self.semantic.encode(z), self.acoustic.encode(z)], 1)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, k, *grid), the first k codebooks, to latents (B, D, *grid) float32."""
        codes = self._check_codes(codes)
        latents = self.semantic.decode(codes[:, : self.first])
        if codes.shape[1] > self.first:
            latents = latents + self.acoustic.decode(codes[:, self.first :])
        return latents
