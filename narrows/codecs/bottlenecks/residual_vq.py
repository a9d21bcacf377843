"""Residual vector quantization (Zeghidour et al., SoundStream, arXiv 2107.03312, section III-C).

z ── in ──▶ r0 ─ nearest code of book 0 ─▶ r1 = r0 - code ─ nearest code of book 1 ─▶ ...   latents = out(sum of codes)
"""

from typing import Any

import torch
from torch import Tensor, nn

from narrows.codecs.bottlenecks.base import Bottleneck, Quantized
from narrows.codecs.checks import MOST, check_share, check_whole
from narrows.parts import part


@part("residual-vq")
class ResidualVQ(Bottleneck):
    """K = `codebooks` codebooks of `entries` vectors, each coding what the ones before left over.

    dim:      D of the latents on both sides; code_dim: length of the vectors, reached by linear projections.
    dropout:  probability, per item and in training only, that only a random prefix of the codebooks is kept.
    decay:    of the running means that the vectors are (in training); a vector that no input has chosen for a while
              starts anew from an input.
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
        from vector_quantize_pytorch import VectorQuantize  # here, since it takes two seconds and few codecs need it

        super().__init__()
        check_whole(1, MOST, dim=dim, codebooks=codebooks, code_dim=code_dim)
        check_whole(2, 1 << 24, entries=entries)
        check_share(dropout=dropout, decay=decay)
        self.dim, self.dropout = dim, dropout
        self.codebook_sizes = (entries,) * codebooks
        self.prefixes = tuple(range(1, codebooks + 1)) if dropout > 0 else (codebooks,)
        self.project_in = nn.Linear(dim, code_dim)
        self.project_out = nn.Linear(code_dim, dim)
        self.stages = nn.ModuleList(
            VectorQuantize(code_dim, entries, decay=decay, threshold_ema_dead_code=2, rotation_trick=False)
            for _ in range(codebooks)
        )

    def forward(self, z: Tensor) -> Quantized:
        """Latents (B, D, *grid) to Quantized with the loss 'commitment'; straight-through gradient."""
        vectors, grid = self._vectors(z), z.shape[2:]
        books = self._drawn_books(len(z), z.device)
        if not self.training:
            codes = self._nearest(vectors)
            total = self._sum(codes) + (vectors - vectors.detach())  # exact: the second term is 0
            losses: dict[str, Tensor] = {}
        else:
            total, codes, losses = self._training_step(vectors, books)
        latents = self._latents(total, grid, z.dtype)
        bits = self._nominal_bits(books, grid.numel())
        return Quantized(latents, codes.movedim(-1, 1).unflatten(2, grid), losses, bits)

    def encode(self, z: Tensor) -> Tensor:
        """Latents (B, D, *grid) to codes (B, K, *grid) int64."""
        return self._nearest(self._vectors(z)).movedim(-1, 1).unflatten(2, z.shape[2:])

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, k, *grid), the first k codebooks, to latents (B, D, *grid)."""
        self._check_codes(codes)
        total = self._sum(codes.flatten(2).movedim(1, -1))
        return self._latents(total, codes.shape[2:], self.project_out.weight.dtype)

    def _drawn_books(self, items: int, device: torch.device) -> Tensor:
        count = len(self.codebook_sizes)
        every = torch.full((items,), count, device=device)
        if not self.training or self.dropout == 0:
            return every
        short = torch.rand(items, device=device) < self.dropout
        return torch.where(short, torch.randint(1, count + 1, (items,), device=device), every)

    def _training_step(self, vectors: Tensor, books: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        total, rest, codes = torch.zeros_like(vectors), vectors, []
        commitment = vectors.new_zeros(())
        for k, stage in enumerate(self.stages):
            kept = (books > k).view(-1, 1, 1)
            with torch.autocast(vectors.device.type, enabled=False):
                code, index, _ = stage(rest)
            commitment = commitment + (kept * (rest - code.detach()).square()).mean()
            total = total + kept * code
            rest = rest - code.detach()
            codes.append(index)
        return total, torch.stack(codes, -1), {"commitment": commitment / len(self.stages)}

    @torch.no_grad()
    def _nearest(self, vectors: Tensor) -> Tensor:
        """Vectors (B, N, d) to codes (B, N, K)."""
        rest, codes = vectors, []
        for stage in self.stages:
            distances = torch.cdist(rest, self._book(stage).expand(len(rest), -1, -1))
            codes.append(distances.argmin(-1))
            rest = rest - self._book(stage)[codes[-1]]
        return torch.stack(codes, -1)

    def _sum(self, codes: Tensor) -> Tensor:
        """Codes (B, N, k) to the sum of their vectors (B, N, d)."""
        total = self._book(self.stages[0])[codes[..., 0]]
        for k in range(1, codes.shape[-1]):
            total = total + self._book(self.stages[k])[codes[..., k]]
        return total

    def _book(self, stage: Any) -> Tensor:
        book: Tensor = stage.codebook.float()
        return book

    def _vectors(self, z: Tensor) -> Tensor:
        """Latents (B, D, *grid) to float32 vectors (B, N, d)."""
        self._check_latents(z)
        with torch.autocast(z.device.type, enabled=False):
            flat = z.float().flatten(2).transpose(1, 2)
            return nn.functional.linear(flat, self.project_in.weight.float(), self.project_in.bias.float())

    def _latents(self, total: Tensor, grid: torch.Size, dtype: torch.dtype) -> Tensor:
        with torch.autocast(total.device.type, enabled=False):
            out = nn.functional.linear(
                total.contiguous(), self.project_out.weight.float(), self.project_out.bias.float()
            )
        return out.transpose(1, 2).unflatten(2, grid).to(dtype)
