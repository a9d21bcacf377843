"""Index backpropagation quantization (Shi et al., IBQ, arXiv 2412.02692, section 3.2): every code gets a gradient.

    p = softmax(z · E)     latents = E[argmax p] forward,     p · E backward

The table of positions × codes is computed in chunks, and again in the backward pass; it is never stored as a whole.
"""

import math

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from narrows.codecs.base import Bottleneck, Quantized
from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.codecs.quantization.dropout import squared_error
from narrows.codecs.quantization.projection import Projection
from narrows.codecs.quantization.search import max_inner_product
from narrows.codecs.quantization.usage import usage
from narrows.errors import InputError
from narrows.parts import part

CHUNK = 1 << 22  # scores that are in memory at a time


@part("ibq")
class IBQ(Bottleneck):
    """One codebook, compared by inner product; all codes get a gradient from every position.

    Losses, unweighted: 'codebook' |E[code] - sg z|², 'commitment' |sg E[code] - z|², 'joint' |soft E - z|²,
    'sample_entropy', the mean entropy of p at a position in nats, and 'diversity', minus the entropy of the mean of p
    over the batch. All but 'commitment' are computed only if gradients are enabled. The published objective weights
    'codebook' with 0.25, the entropy losses with 0.05, and the others with 1.

    Args:
        dim: D of the latents on both sides.
        entries: number of codes V.
        code_dim: length of the codes.
        temperature: temperature of the softmax in the entropy losses.
    """

    def __init__(self, dim: int = 64, entries: int = 16384, code_dim: int = 8, temperature: float = 0.01) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, dim=dim, code_dim=code_dim)
        check_integers(2, 1 << 24, entries=entries)
        if type(temperature) not in (int, float) or not 1e-6 <= temperature <= 1e6:
            raise InputError(f"expected temperature from 0.000001 to 1000000, got {temperature!r}")
        self.dim, self.temperature = dim, temperature
        self.codebook_sizes, self.prefixes = (entries,), (1,)
        self.radices  # noqa: B018  # raises for a size that cannot be entropy-coded
        self.projection = Projection(dim, code_dim)
        self.codebook = nn.Parameter(torch.randn(entries, code_dim) * code_dim**-0.5)

    def forward(self, z: Tensor) -> Quantized:
        """Quantize latents (B, D, *grid)."""
        self._check_latents(z)
        vectors, table = self.projection.down(z), self.codebook.float()
        flat = vectors.flatten(0, -2)
        codes = self._best(flat)
        hard = nn.functional.embedding(codes, table)
        losses = {"commitment": squared_error(flat, hard.detach(), len(z))}
        if torch.is_grad_enabled():
            soft, entropies, losses["diversity"] = self._soft(flat, table)
            losses["sample_entropy"] = entropies.view(len(z), -1).mean(1)
            chosen = hard + (soft - soft.detach())
            losses["codebook"] = squared_error(hard, flat.detach(), len(z))
            losses["joint"] = squared_error(chosen, flat, len(z))
        else:
            chosen = hard
        latents = self.projection.up(chosen.view_as(vectors)).to(z.dtype)
        codes = codes.view(z.shape[0], 1, *z.shape[2:])
        kept = torch.ones(z.shape[0], dtype=torch.int64, device=z.device)
        bits = self._nominal_bits(kept, math.prod(z.shape[2:]))
        return Quantized(latents, codes, losses, bits, usage(codes, self.codebook_sizes))

    def encode(self, z: Tensor) -> Tensor:
        """Encode latents (B, D, *grid) to codes (B, 1, *grid) int64."""
        self._check_latents(z)
        return self._best(self.projection.down(z).flatten(0, -2)).view(z.shape[0], 1, *z.shape[2:])

    def decode(self, codes: Tensor) -> Tensor:
        """Decode codes (B, 1, *grid) to latents (B, D, *grid) float32."""
        codes = self._check_codes(codes)
        return self.projection.up(self.codebook.float()[codes[:, 0]])

    def _best(self, vectors: Tensor) -> Tensor:
        return max_inner_product(vectors, self.codebook, self.codebook.detach().new_zeros(len(self.codebook)))

    def _soft(self, vectors: Tensor, table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean codes (N, d) under the softmax, without a gradient for the codes; entropies (N,); diversity loss."""
        rows = max(1, CHUNK // len(table))
        means, entropies, mean_p = [], [], vectors.new_zeros(len(table))
        with torch.autocast(vectors.device.type, enabled=False):
            for chunk in vectors.split(rows):
                soft, entropy, chunk_p = checkpoint(self._soft_chunk, chunk, table, use_reentrant=False)
                means.append(soft)
                entropies.append(entropy)
                mean_p = mean_p + chunk_p / len(vectors)
        return torch.cat(means), torch.cat(entropies), -_entropy(mean_p)

    def _soft_chunk(self, vectors: Tensor, table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        scores = vectors @ table.T
        sharp = (scores / self.temperature).softmax(-1)
        return scores.softmax(-1) @ table.detach(), _entropy(sharp), sharp.sum(0)


def _entropy(p: Tensor) -> Tensor:
    """Entropies (...,) in nats of distributions (..., V)."""
    return -(p * p.clamp(min=torch.finfo(p.dtype).tiny).log()).sum(-1)
