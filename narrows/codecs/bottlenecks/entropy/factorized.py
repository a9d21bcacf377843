"""The factorised prior (Ballé et al., arXiv 1802.01436, section 3): every channel has one density for all positions."""

from collections.abc import Sequence

import torch
from torch import Tensor

from narrows.codecs.base import LARGEST_DIGIT, Quantized
from narrows.codecs.bottlenecks.entropy.base import FREE_REACH, EntropyModel, Stage, Stages, noisy
from narrows.codecs.checks import MOST, check_whole
from narrows.codecs.layers.density import Density
from narrows.parts import part


@part("factorized-prior")
class FactorizedPrior(EntropyModel):
    """Latents (B, dim, h, w), rounded; one table for each channel."""

    def __init__(self, dim: int = 192) -> None:
        super().__init__()
        check_whole(1, MOST, dim=dim)
        self.dim = dim
        self.codebook_sizes, self.prefixes = (LARGEST_DIGIT,) * dim, (dim,)
        self.density = Density(dim)

    @property
    def table_sizes(self) -> tuple[int, ...]:
        """One table for each channel."""
        return (2 * FREE_REACH + 2,) * self.dim

    def latents(self, values: Sequence[Tensor], quality: Tensor) -> Tensor:
        """Those of the single stage."""
        return values[0]

    def learn(self, parts: Sequence[Tensor], quality: Tensor) -> Quantized:
        """The single stage: the same noise instead of rounding for the rate and for the decoder."""
        noised = noisy(parts[0].float())
        return Quantized(noised.to(parts[0].dtype), bits=-self.density(noised).log2().flatten(1).sum(1))

    def stages(self, shape: tuple[int, int, int], quality: int) -> Stages:
        """A single one."""
        symbols = yield free_stage(self.density, shape, 0)
        return symbols.float()

    def targets(self, y: Tensor, quality: Tensor) -> list[Tensor]:
        """The latents themselves."""
        return [y]

    def fold(self, parts: Sequence[Tensor]) -> Tensor:
        """The single part."""
        return parts[0]

    def unfold(self, x: Tensor) -> list[Tensor]:
        """The single part."""
        return [x]

    def bits_of(self, symbols: Tensor, stage: Stage, index: int) -> Tensor:
        """By the learned densities."""
        return -self.density(symbols).log2().flatten(1).sum(1)


def free_stage(density: Density, shape: tuple[int, int, int], first: int, side: int = 1) -> Stage:
    """Symbols (B, C, h, w) without a mean, channel c with the table first + c; the first of all codes.

    side: a square of so many codes a side is one position of them.
    """
    batch, height, width = shape
    device = next(density.parameters()).device
    channels = torch.arange(first, first + density.channels, device=device).view(1, -1, 1, 1)
    place = (slice(None), slice(0, density.channels // side**2), slice(None), slice(None))
    return Stage(torch.zeros((), device=device), channels.expand(batch, -1, height, width), place, side)
