"""Index backpropagation quantization (Shi et al., IBQ, arXiv 2412.02692, section 3.2): every code gets a gradient.

    p = softmax(z · E)     latents = E[argmax p] forward,     p · E backward

The table of positions times codes is made in pieces, and made again for the gradient, never held whole.
"""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from narrows.codecs.base import Bottleneck, Quantized
from narrows.codecs.checks import MOST, check_whole
from narrows.codecs.quantization.projection import Projection
from narrows.codecs.quantization.search import best
from narrows.codecs.quantization.usage import usage
from narrows.errors import InputError
from narrows.parts import part

PIECE = 1 << 22  # scores at a time


@part("ibq")
class IBQ(Bottleneck):
    """One codebook, compared by inner product, all of whose codes learn from every position.

    dim:         D of the latents on both sides; code_dim: length of the codes.
    entries:     V.
    temperature: of the softmax whose entropies are losses.

    Losses, unweighted: 'codebook' |E[code] - sg z|², 'commitment' |sg E[code] - z|², 'joint' |soft E - z|²,
    'sample_entropy', the mean entropy of a position in nats, low where choices are sure, and 'diversity', minus the
    entropy of the mean choice of the batch, low where all codes are chosen. All but 'commitment' need gradients on.
    """

    def __init__(self, dim: int = 64, entries: int = 16384, code_dim: int = 8, temperature: float = 0.01) -> None:
        super().__init__()
        check_whole(1, MOST, dim=dim, code_dim=code_dim)
        check_whole(2, 1 << 24, entries=entries)
        if type(temperature) not in (int, float) or not 1e-6 <= temperature <= 1e6:
            raise InputError(f"temperature={temperature!r} given, 0.000001 to 1000000 wanted")
        self.dim, self.temperature = dim, temperature
        self.codebook_sizes, self.prefixes = (entries,), (1,)
        self.radices  # noqa: B018  # raises for a size that has no stream
        self.projection = Projection(dim, code_dim)
        self.codebook = nn.Parameter(torch.randn(entries, code_dim) * code_dim**-0.5)

    def forward(self, z: Tensor) -> Quantized:
        """Latents (B, D, *grid) to Quantized."""
        self._check_latents(z)
        vectors, book = self.projection.down(z), self.codebook.float()
        flat = vectors.flatten(0, -2)
        codes = self._best(flat)
        hard = nn.functional.embedding(codes, book)
        losses = {"commitment": nn.functional.mse_loss(flat, hard.detach())}
        if torch.is_grad_enabled():
            soft, losses["sample_entropy"], losses["diversity"] = self._soft(flat, book)
            chosen = hard + (soft - soft.detach())
            mse = nn.functional.mse_loss
            losses["codebook"], losses["joint"] = mse(hard, flat.detach()), mse(chosen, flat)
        else:
            chosen = hard
        latents = self.projection.up(chosen.view_as(vectors)).to(z.dtype)
        codes = codes.view(len(z), 1, *z.shape[2:])
        books = torch.ones(len(z), dtype=torch.int64, device=z.device)
        return Quantized(
            latents, codes, losses, self._nominal_bits(books, z[0, 0].numel()), usage(codes, self.codebook_sizes)
        )

    def encode(self, z: Tensor) -> Tensor:
        """Latents (B, D, *grid) to codes (B, 1, *grid) int64."""
        self._check_latents(z)
        return self._best(self.projection.down(z).flatten(0, -2)).view(len(z), 1, *z.shape[2:])

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, 1, *grid) to latents (B, D, *grid) float32."""
        codes = self._check_codes(codes)
        return self.projection.up(self.codebook.float()[codes[:, 0]])

    def _best(self, vectors: Tensor) -> Tensor:
        return best(vectors, self.codebook, self.codebook.detach().new_zeros(len(self.codebook)))

    def _soft(self, vectors: Tensor, book: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean codes (N, d) under the softmax, the codes there taken for constants, and the two entropy losses."""
        rows = max(1, PIECE // len(book))
        pieces, entropy, mean = [], vectors.new_zeros(()), vectors.new_zeros(len(book))
        with torch.autocast(vectors.device.type, enabled=False):
            for some in vectors.split(rows):
                soft, its_entropy, its_sum = checkpoint(self._piece, some, book, use_reentrant=False)
                pieces.append(soft)
                entropy, mean = entropy + its_entropy / len(vectors), mean + its_sum / len(vectors)
        return torch.cat(pieces), entropy, -_entropy(mean)

    def _piece(self, vectors: Tensor, book: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        scores = vectors @ book.T
        sharp = (scores / self.temperature).softmax(-1)
        return scores.softmax(-1) @ book.detach(), _entropy(sharp), sharp.sum(0)


def _entropy(p: Tensor) -> Tensor:
    """Entropy in nats of the last axis, summed over the others."""
    return -(p * p.clamp(min=torch.finfo(p.dtype).tiny).log()).sum()
