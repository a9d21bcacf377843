"""Binary codes without a codebook: each scalar is coded by its sign.

LFQ: Yu et al., MAGVIT-v2 (arXiv 2310.05737, section 3.1). BSQ: Zhao et al. (arXiv 2406.07548, section 3).

z (B, D, *grid) ── in ──▶ K groups of `bits` scalars ── sign ──▶ ±s ── out ──▶ latents (B, D, *grid)
"""

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn

from narrows.codecs.base import Bottleneck, Quantized
from narrows.codecs.checks import MOST, check_whole
from narrows.codecs.quantization.binary_entropy import code_entropy, sample_entropy
from narrows.codecs.quantization.digits import Digits
from narrows.codecs.quantization.projection import narrowed, widened
from narrows.codecs.quantization.usage import usage
from narrows.errors import InputError
from narrows.parts import part

MOST_BITS = 62  # of a code, an int64


class Signs(Bottleneck):
    """K = `groups` codebooks of 2^bits codes each; the first scalar of a group is the lowest bit. See LFQ and BSQ."""

    def __init__(self, dim: int, bits: int, groups: int, temperature: float, size: float) -> None:
        super().__init__()
        check_whole(1, MOST, dim=dim, groups=groups)
        check_whole(1, MOST_BITS, bits=bits)
        if type(temperature) not in (int, float) or not 1e-6 <= temperature <= 1e6:
            raise InputError(f"temperature={temperature!r} given, 0.000001 to 1000000 wanted")
        self.dim, self.groups, self.temperature, self.size = dim, groups, temperature, size
        self.digits = Digits((2,) * bits)
        self.codebook_sizes = (2**bits,) * groups
        self.prefixes = (groups,)
        self.project_in = nn.Linear(dim, groups * bits)
        self.project_out = nn.Linear(groups * bits, dim)

    @abstractmethod
    def _scaled(self, scalars: Tensor) -> Tensor:
        """What of the scalars (..., bits) of a group is held against ±size."""

    @property
    def radices(self) -> tuple[tuple[int, ...], ...]:
        """Twelve bits share a digit."""
        return (self.digits.radices,) * self.groups

    def forward(self, z: Tensor) -> Quantized:
        """Latents (B, D, *grid) to Quantized; the gradient passes the signs unchanged (straight-through).

        Losses, in training only: 'commitment', mean square of what the signs change; 'sample_entropy', nats of the
        soft code of one position, low when every scalar is far from 0; 'diversity', minus the nats of the mean soft
        code of this process's batch, low when all codes are used alike.
        """
        scalars = self._scalars(z)  # (B, *grid, K, bits)
        positive = scalars > 0
        values = torch.where(positive, self.size, -self.size)
        codes = self.digits.join(positive.long()).movedim(-1, 1)
        losses = self._losses(scalars, values) if self.training else {}
        latents = widened((values + (scalars - scalars.detach())).flatten(-2), self.project_out, z.dtype)
        books = torch.full((len(z),), self.groups, device=z.device)
        bits = self._nominal_bits(books, math.prod(z.shape[2:]))
        return Quantized(latents, codes, losses, bits, usage(codes, self.codebook_sizes))

    def encode(self, z: Tensor) -> Tensor:
        """Latents (B, D, *grid) to codes (B, K, *grid) int64."""
        return self.digits.join((self._scalars(z) > 0).long()).movedim(-1, 1)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, K, *grid) to latents (B, D, *grid). A missing group contributes zeros."""
        codes = self._check_codes(codes)
        positive = self.digits.split(codes.movedim(1, -1)) > 0  # (B, *grid, k, bits)
        values = torch.where(positive, self.size, -self.size)
        values = nn.functional.pad(values, (0, 0, 0, self.groups - codes.shape[1]))
        return widened(values.flatten(-2), self.project_out, torch.float32)

    def _scalars(self, z: Tensor) -> Tensor:
        """Latents (B, D, *grid) to float32 scalars (B, *grid, K, bits)."""
        self._check_latents(z)
        return self._scaled(narrowed(z, self.project_in).unflatten(-1, (self.groups, -1)))

    def _losses(self, scalars: Tensor, values: Tensor) -> dict[str, Tensor]:
        # softmax over -|x - c|²/τ: a scalar x is +s with probability sigmoid(4·s·x/τ), each for itself
        logits = (4 * self.size / self.temperature) * scalars.flatten(0, -3)
        return {
            "commitment": (scalars - values).square().mean(),
            "sample_entropy": sample_entropy(logits),
            "diversity": -code_entropy(logits),
        }


@part("lfq")
class LFQ(Signs):
    """Lookup-free quantization: codes are corners of a cube, ±1 along each scalar.

    dim: D of the latents on both sides. bits: of a code, 1 to 62. groups: K. temperature: of the soft codes whose
    entropies the losses are; small is close to the signs.
    """

    def __init__(self, dim: int = 64, bits: int = 18, groups: int = 1, temperature: float = 0.01) -> None:
        super().__init__(dim, bits, groups, temperature, 1.0)

    def _scaled(self, scalars: Tensor) -> Tensor:
        return scalars


@part("bsq")
class BSQ(Signs):
    """Binary spherical quantization: a group is brought to length 1, codes are the corners ±1/√bits on that sphere.

    The error of a code is bounded, so no commitment loss is needed. Arguments: as of LFQ, bits from 2 on.
    """

    def __init__(self, dim: int = 64, bits: int = 18, groups: int = 1, temperature: float = 0.01) -> None:
        check_whole(2, MOST_BITS, bits=bits)  # a single scalar of length 1 has no gradient
        super().__init__(dim, bits, groups, temperature, bits**-0.5)

    def _scaled(self, scalars: Tensor) -> Tensor:
        return nn.functional.normalize(scalars, dim=-1, eps=1e-6)
