"""Residual finite scalar quantization: each stage divides the cell that the stage before chose into L cells.

    L = 3   stage 0:  |        0        |        1        |        2        |
            stage 1:  |  0  |  1  |  2  |  0  |  1  |  2  |  0  |  1  |  2  |

Since all cells of a stage are of one size, the stages' levels are the digits of one fine level in base L, the first
stage's being the most significant. A prefix of the stages decodes to the middle of its cell.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from narrows.codecs.base import LARGEST_DIGIT, Bottleneck, Quantized
from narrows.codecs.checks import MOST, check_several, check_share, check_whole
from narrows.codecs.quantization.digits import Digits
from narrows.codecs.quantization.dropout import drawn
from narrows.codecs.quantization.projection import narrowed, widened
from narrows.codecs.quantization.usage import usage
from narrows.errors import InputError
from narrows.parts import part

FINEST = 2**22  # levels that float32 tells apart with room to spare


@part("residual-fsq")
class ResidualFSQ(Bottleneck):
    """K = `stages` codebooks of `prod(levels)` codes each, all of the same d scalars.

    dim:     D of the latents on both sides.
    levels:  into how many cells a stage divides each scalar's range, 2 to 4096; L^stages at most 2^22.
    dropout: probability, per item and in training only, that only a random prefix of the stages is kept. Above 0,
             every prefix of the stages can be decoded; at 0, only all of them.
    """

    fine: Tensor
    count: Tensor
    unit: Tensor
    weights: Tensor
    sizes: Tensor

    def __init__(
        self, dim: int = 64, levels: Sequence[int] = (5, 5, 5, 5), stages: int = 4, dropout: float = 0.5
    ) -> None:
        super().__init__()
        check_whole(1, MOST, dim=dim, stages=stages)
        check_several(2, LARGEST_DIGIT, levels=levels)
        check_share(dropout=dropout)
        self.digits = Digits(levels)
        if stages > 22 or max(levels) ** stages > FINEST:
            raise InputError(f"{stages} stages of levels {tuple(levels)} given, at most 2^22 levels of a scalar wanted")
        self.dim, self.stages, self.dropout = dim, stages, dropout
        self.codebook_sizes = (self.digits.size,) * stages
        self.prefixes = tuple(range(1, stages + 1)) if dropout > 0 else (stages,)
        self.project_in = nn.Linear(dim, len(levels))
        self.project_out = nn.Linear(len(levels), dim)
        count = torch.tensor(self.digits.levels)
        place = torch.arange(stages).view(-1, 1)
        self.register_buffer("count", count, persistent=False)
        self.register_buffer("unit", count / (count - 1), persistent=False)  # the outer cells' middles lie at ±1
        self.register_buffer("fine", (count**stages).float(), persistent=False)
        self.register_buffer("weights", count ** (stages - 1 - place), persistent=False)  # (K, d)
        self.register_buffer("sizes", 1 / (count**place).float(), persistent=False)  # of stages, next to the first's

    @property
    def radices(self) -> tuple[tuple[int, ...], ...]:
        """Neighbouring levels share a digit as long as it stays within a table's size."""
        return (self.digits.radices,) * self.stages

    def forward(self, z: Tensor) -> Quantized:
        """Latents (B, D, *grid) to Quantized; the gradient passes the rounding unchanged (straight-through)."""
        bounded = self._bounded(z)
        levels = self._levels(bounded)  # (B, *grid, K, d)
        books = drawn(len(z), self.stages, self.dropout if self.training else 0.0, z.device)
        kept = torch.arange(self.stages, device=z.device) < books[:, None]  # (B, K)
        values = self._values(levels, kept.view(len(z), *(1,) * (z.ndim - 2), self.stages, 1))
        codes = self.digits.join(levels).movedim(-1, 1)
        latents = widened(values + (bounded - bounded.detach()), self.project_out, z.dtype)  # exact: the second is 0
        bits = self._nominal_bits(books, z[0, 0].numel())
        return Quantized(latents, codes, bits=bits, metrics=usage(codes, self.codebook_sizes))

    def encode(self, z: Tensor) -> Tensor:
        """Latents (B, D, *grid) to codes (B, K, *grid) int64."""
        return self.digits.join(self._levels(self._bounded(z))).movedim(-1, 1)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, k, *grid), the first k stages, to latents (B, D, *grid)."""
        codes = self._check_codes(codes)
        codes, stages = codes.movedim(1, -1), codes.shape[1]
        levels = self.digits.split(nn.functional.pad(codes, (0, self.stages - stages)))
        kept = (torch.arange(self.stages, device=codes.device) < stages).unsqueeze(-1)
        return widened(self._values(levels, kept), self.project_out, torch.float32)

    def _bounded(self, z: Tensor) -> Tensor:
        """Latents (B, D, *grid) to float32 scalars (B, *grid, d) in the range of all cells."""
        self._check_latents(z)
        return torch.tanh(narrowed(z, self.project_in) / self.unit) * self.unit

    def _levels(self, bounded: Tensor) -> Tensor:
        """Scalars (B, *grid, d) to the levels of the stages (B, *grid, K, d)."""
        fine = ((bounded / self.unit + 1) * 0.5 * self.fine).floor().clamp(min=0)
        fine = torch.minimum(fine, self.fine - 1).long()
        return fine.unsqueeze(-2) // self.weights % self.count

    def _values(self, levels: Tensor, kept: Tensor) -> Tensor:
        """Levels (B, *grid, K, d) of the stages that are kept to middles of cells (B, *grid, d)."""
        middles = (2 * levels + 1 - self.count) / (self.count - 1)  # of stage 0, from -1 to 1
        return (middles * self.sizes * kept).sum(-2)
