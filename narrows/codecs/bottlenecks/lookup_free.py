"""Binary codes without a codebook: each scalar is quantized to its sign.

LFQ: Yu et al., MAGVIT-v2 (arXiv 2310.05737, section 3.1). BSQ: Zhao et al. (arXiv 2406.07548, section 3).

z (B, D, *grid) ── in ──▶ K groups of `bits` scalars ── sign ──▶ ±s ── out ──▶ latents (B, D, *grid)
"""

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn

from narrows.codecs.base import Bottleneck, Quantized
from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.codecs.quantization.binary_entropy import code_entropy, sample_entropy
from narrows.codecs.quantization.mixed_radix import MixedRadix
from narrows.codecs.quantization.projection import to_latents, to_vectors
from narrows.codecs.quantization.usage import usage
from narrows.errors import InputError
from narrows.parts import part

MAX_BITS = 62  # bits per code; a code fits an int64


class Signs(Bottleneck):
    """Base class of LFQ and BSQ: K = `groups` codebooks of 2^bits codes ±`size`; the first scalar is the lowest bit."""

    def __init__(self, dim: int, bits: int, groups: int, temperature: float, size: float) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, dim=dim, groups=groups)
        check_integers(1, MAX_BITS, bits=bits)
        if type(temperature) not in (int, float) or not 1e-6 <= temperature <= 1e6:
            raise InputError(f"expected temperature from 0.000001 to 1000000, got {temperature!r}")
        self.dim, self.groups, self.temperature, self.size = dim, groups, temperature, size
        self.mixed_radix = MixedRadix((2,) * bits)
        self.codebook_sizes = (2**bits,) * groups
        self.prefixes = (groups,)
        self.project_in = nn.Linear(dim, groups * bits)
        self.project_out = nn.Linear(groups * bits, dim)

    @abstractmethod
    def _normalize(self, scalars: Tensor) -> Tensor:
        """The scalars (..., bits) of a group, scaled like the codes ±size."""

    @property
    def radices(self) -> tuple[tuple[int, ...], ...]:
        """Digits of each group's code; a digit has twelve bits."""
        return (self.mixed_radix.radices,) * self.groups

    def forward(self, z: Tensor) -> Quantized:
        """Quantize latents (B, D, *grid); the gradient is straight-through.

        Losses, in training only: 'commitment', mean squared error of quantization; 'sample_entropy', entropy in nats of
        the soft code of one position, low if all scalars are far from 0; 'diversity', minus the entropy in nats of the
        mean soft code of this rank's batch, low if all codes are used equally.
        """
        scalars = self._scalars(z)  # (B, *grid, K, bits)
        positive = scalars > 0
        values = torch.where(positive, self.size, -self.size)
        codes = self.mixed_radix.join(positive.long()).movedim(-1, 1)
        losses = self._losses(scalars, values) if self.training else {}
        latents = to_latents((values + (scalars - scalars.detach())).flatten(-2), self.project_out, z.dtype)
        kept = torch.full((z.shape[0],), self.groups, device=z.device)
        bits = self._nominal_bits(kept, math.prod(z.shape[2:]))
        return Quantized(latents, codes, losses, bits, usage(codes, self.codebook_sizes))

    def encode(self, z: Tensor) -> Tensor:
        """Encode latents (B, D, *grid) to codes (B, K, *grid) int64."""
        return self.mixed_radix.join((self._scalars(z) > 0).long()).movedim(-1, 1)

    def decode(self, codes: Tensor) -> Tensor:
        """Decode codes (B, K, *grid) to latents (B, D, *grid). Missing groups contribute zeros."""
        codes = self._check_codes(codes)
        positive = self.mixed_radix.split(codes.movedim(1, -1)) > 0  # (B, *grid, k, bits)
        values = torch.where(positive, self.size, -self.size)
        values = nn.functional.pad(values, (0, 0, 0, self.groups - codes.shape[1]))
        return to_latents(values.flatten(-2), self.project_out, torch.float32)

    def _scalars(self, z: Tensor) -> Tensor:
        """Project latents (B, D, *grid) to float32 scalars (B, *grid, K, bits)."""
        self._check_latents(z)
        return self._normalize(to_vectors(z, self.project_in).unflatten(-1, (self.groups, -1)))

    def _losses(self, scalars: Tensor, values: Tensor) -> dict[str, Tensor]:
        # softmax over -|x - c|²/τ: a scalar x is +s with probability sigmoid(4·s·x/τ), independently of the others
        logits = (4 * self.size / self.temperature) * scalars  # (B, *grid, K, bits)
        return {
            "commitment": (scalars - values).square().flatten(1).mean(1),
            "sample_entropy": sample_entropy(logits).flatten(1).mean(1),
            "diversity": -code_entropy(logits.flatten(0, -3)),
        }


@part("lfq")
class LFQ(Signs):
    """Lookup-free quantization: codes are the corners ±1 of a cube.

    Args:
        dim: D of the latents on both sides.
        bits: bits of a code, 1 to 62.
        groups: number of codebooks K.
        temperature: temperature of the soft codes in the entropy losses; small values are close to the signs.
    """

    def __init__(self, dim: int = 64, bits: int = 18, groups: int = 1, temperature: float = 0.01) -> None:
        super().__init__(dim, bits, groups, temperature, 1.0)

    def _normalize(self, scalars: Tensor) -> Tensor:
        return scalars


@part("bsq")
class BSQ(Signs):
    """Binary spherical quantization: a group is normalised to unit length, codes are the corners ±1/√bits.

    The quantization error is bounded, so no commitment loss is needed.

    Args:
        dim: D of the latents on both sides.
        bits: bits of a code, 2 to 62.
        groups: number of codebooks K.
        temperature: temperature of the soft codes in the entropy losses; small values are close to the signs.
    """

    def __init__(self, dim: int = 64, bits: int = 18, groups: int = 1, temperature: float = 0.01) -> None:
        check_integers(2, MAX_BITS, bits=bits)  # a single scalar of length 1 has no gradient
        super().__init__(dim, bits, groups, temperature, bits**-0.5)

    def _normalize(self, scalars: Tensor) -> Tensor:
        return nn.functional.normalize(scalars, dim=-1, eps=1e-6)
