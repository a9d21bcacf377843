"""The factorized prior (Ballé et al., arXiv 1802.01436, section 3): one density per channel for all positions."""

from collections.abc import Sequence

import torch
from torch import Tensor

from narrows.codecs.base import MAX_RADIX, Quantized
from narrows.codecs.bottlenecks.entropy.base import (
    CHANNEL_TABLE_REACH,
    EntropyModel,
    Stage,
    Stages,
    add_uniform_noise,
)
from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.codecs.layers.density import Density
from narrows.parts import part


@part("factorized-prior")
class FactorizedPrior(EntropyModel):
    """Rounded latents (B, dim, h, w) with one frequency table per channel.

    Args:
        dim: channels of the latents.
    """

    def __init__(self, dim: int = 192) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, dim=dim)
        self.dim = dim
        self.codebook_sizes, self.prefixes = (MAX_RADIX,) * dim, (dim,)
        self.density = Density(dim)

    @property
    def table_sizes(self) -> tuple[int, ...]:
        """One table per channel."""
        return (2 * CHANNEL_TABLE_REACH + 2,) * self.dim

    def latents(self, values: Sequence[Tensor], quality_index: Tensor) -> Tensor:
        """The values of the single stage."""
        return values[0]

    def estimate(self, parts: Sequence[Tensor], quality_index: Tensor) -> Quantized:
        """Uniform noise replaces rounding; rate and decoder get the same noise."""
        noisy = add_uniform_noise(parts[0].float())
        return Quantized(noisy.to(parts[0].dtype), bits=-self.density(noisy).log2().flatten(1).sum(1))

    def stages(self, shape: tuple[int, ...], quality_index: Tensor | int) -> Stages:
        """A single stage."""
        symbols = yield channel_stage(self.density, shape, 0)
        return symbols.float()

    def targets(self, y: Tensor, quality_index: Tensor) -> list[Tensor]:
        """The latents themselves."""
        return [y]

    def fold(self, parts: Sequence[Tensor]) -> Tensor:
        """The single part."""
        return parts[0]

    def unfold(self, x: Tensor) -> list[Tensor]:
        """The single part."""
        return [x]

    def symbol_bits(self, symbols: Tensor, stage: Stage, index: int) -> Tensor:
        """Bits under the learned densities."""
        return -self.density(symbols).log2().flatten(1).sum(1)


def channel_stage(density: Density, shape: tuple[int, ...], first: int, side: int = 1) -> Stage:
    """The first stage of a model: symbols (B, C, h, w) without a mean, channel c with the table `first` + c.

    Args:
        density: densities of the C channels.
        shape: (B, h, w) of the symbols.
        first: index of the table of channel 0.
        side: side of the pixel shuffle, see `Stage`.
    """
    batch, height, width = shape
    device = next(density.parameters()).device
    channels = torch.arange(first, first + density.channels, device=device).view(1, -1, 1, 1)
    place = (slice(None), slice(0, density.channels // side**2), slice(None), slice(None))
    return Stage(torch.zeros((), device=device), channels.expand(batch, -1, height, width), place, side)
