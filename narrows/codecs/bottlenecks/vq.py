"""Vector quantization (van den Oord et al., arXiv 1711.00937).

z (B, D, *grid) ── projection ──▶ vectors ── nearest code ──▶ codes (B, 1, *grid)
                                                └─ estimator ──▶ projection ──▶ latents (B, D, *grid)
"""

import math

import torch
from torch import Tensor, nn

from narrows.codecs.base import Bottleneck, Quantized
from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.codecs.quantization.codebooks import Codebook, EMACodebook
from narrows.codecs.quantization.dropout import squared_error
from narrows.codecs.quantization.estimators import Estimator, RotationTrick
from narrows.codecs.quantization.projection import Projection
from narrows.codecs.quantization.usage import usage
from narrows.errors import InputError
from narrows.parts import part


@part("vq")
class VQ(Bottleneck):
    """One codebook, with linear projections if its dim differs from the dim of the latents.

    Losses, unweighted: 'commitment' pulls vectors to their codes; 'codebook', only if the codebook is trained by
    gradient, pulls codes to their vectors. Metrics: 'usage', the fraction of the codebook in use in the batch, and
    'perplexity'.

    Args:
        dim: D of the latents on both sides.
        codebook: an EMACodebook of 1024 codes of length 8 by default.
        estimator: gradient estimator; by default RotationTrick, which is better for codes that are trained by gradient.
    """

    def __init__(self, dim: int = 64, codebook: Codebook | None = None, estimator: Estimator | None = None) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, dim=dim)
        self.codebook = EMACodebook() if codebook is None else codebook
        self.estimator = RotationTrick() if estimator is None else estimator
        if not isinstance(self.codebook, Codebook) or not isinstance(self.estimator, Estimator):
            given = f"{type(codebook).__name__} and {type(estimator).__name__}"
            raise InputError(f"expected a codebook and an estimator, got {given}")
        self.dim = dim
        self.codebook_sizes = (self.codebook.entries,)
        self.prefixes = (1,)
        self.radices  # noqa: B018  # raises for a size that cannot be entropy-coded
        self.projection = Projection(dim, self.codebook.dim)

    def forward(self, z: Tensor) -> Quantized:
        """Quantize latents (B, D, *grid)."""
        vectors = self._vectors(z)  # (B, *grid, d)
        flat = vectors.flatten(0, -2)
        if self.training:
            self.codebook.prepare(flat)
        table = self.codebook.table()
        codes = self.codebook.search(flat)
        chosen = nn.functional.embedding(codes, table)
        losses = {"commitment": squared_error(flat, chosen.detach(), len(z))}
        if table.requires_grad:
            losses["codebook"] = squared_error(chosen, flat.detach(), len(z))
        latents = self.projection.up(self.estimator(flat, chosen).view_as(vectors)).to(z.dtype)
        if self.training:
            self.codebook.update(flat, codes)
        codes = codes.view(z.shape[0], 1, *z.shape[2:])
        kept = torch.ones(z.shape[0], dtype=torch.int64, device=z.device)
        bits = self._nominal_bits(kept, math.prod(z.shape[2:]))
        return Quantized(latents, codes, losses, bits, usage(codes, self.codebook_sizes))

    def encode(self, z: Tensor) -> Tensor:
        """Encode latents (B, D, *grid) to codes (B, 1, *grid) int64."""
        return self.codebook.search(self._vectors(z).flatten(0, -2)).view(z.shape[0], 1, *z.shape[2:])

    def decode(self, codes: Tensor) -> Tensor:
        """Decode codes (B, 1, *grid) to latents (B, D, *grid) float32."""
        codes = self._check_codes(codes)
        return self.projection.up(self.codebook.table()[codes[:, 0]])

    def _vectors(self, z: Tensor) -> Tensor:
        """Project latents (B, D, *grid) to float32 vectors (B, *grid, d) in the space of the codes."""
        self._check_latents(z)
        return self.codebook.normalize(self.projection.down(z))
