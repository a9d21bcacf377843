"""The network of a codec: encoder, bottleneck, decoder.

x ──▶ encoder ──▶ z ──▶ bottleneck ──▶ latents ──▶ decoder ──▶ x
                          │  ▲
                          ▼  │
                         codes
"""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from narrows.codecs.base import Bottleneck, Quantized
from narrows.codecs.bottlenecks.entropy.base import EntropyModel
from narrows.errors import InputError
from narrows.parts import part

MEDIA = {1: "audio", 2: "images"}  # by the axes of their signals


class Coder(Protocol):
    """What encoder and decoder both tell: axes of the signal, channels at the bottleneck, samples a position."""

    axes: int
    dim: int
    stride: int

    @property
    def reach(self) -> int | None:
        """Positions to each side on which one position of the output depends; None where it depends on all."""

    def __call__(self, x: Tensor, *quality: Tensor | int) -> Tensor:
        """The network itself; a decoder with the attribute `conditioned` is told the quality."""


@dataclass(frozen=True)
class Reconstruction:
    """What a codec makes of x: the decoded x, same shape, and what the bottleneck returned."""

    x: Tensor
    quantized: Quantized


@part("codec")
class Codec(nn.Module):
    """x (B, C, *signal) ⇄ codes (B, K, *grid); signal axes are multiples of `stride`.

    quality: of a bottleneck that serves several (an EntropyModel): one for the batch, or in training one an item.
    """

    def __init__(self, encoder: Coder, bottleneck: Bottleneck, decoder: Coder) -> None:
        super().__init__()
        if encoder.dim != bottleneck.dim or bottleneck.dim != decoder.dim:
            dims = f"encoder {encoder.dim}, bottleneck {bottleneck.dim}, decoder {decoder.dim}"
            raise InputError(f"parts of different latent dim given ({dims}); one dim wanted")
        if encoder.stride != decoder.stride:
            raise InputError(
                f"encoder of stride {encoder.stride} and decoder of stride {decoder.stride} given; one wanted"
            )
        if encoder.axes != decoder.axes:
            media = f"{MEDIA[encoder.axes]} and a decoder of {MEDIA[decoder.axes]}"
            raise InputError(f"an encoder of {media} given; one medium wanted")
        self.encoder, self.bottleneck, self.decoder = encoder, bottleneck, decoder

    def check_axes(self, axes: int) -> None:
        """Raise InputError unless this is a codec for signals of so many axes."""
        if self.encoder.axes != axes:
            raise InputError(f"a codec for {MEDIA[self.encoder.axes]} given, one for {MEDIA[axes]} wanted")

    @property
    def stride(self) -> int:
        """Signal samples at one position of the grid."""
        return self.encoder.stride

    @property
    def reach(self) -> int | None:
        """The larger of what encoder and decoder see to each side; None where any part sees all of the signal."""
        ours, theirs = self.encoder.reach, self.decoder.reach
        return None if ours is None or theirs is None or self.bottleneck.reach is None else max(ours, theirs)

    def forward(self, x: Tensor, quality: Tensor | int | None = None) -> Reconstruction:
        """Signal (B, C, *signal) to its Reconstruction."""
        z = self.encoder(x)
        quantized = self.bottleneck(z) if quality is None else self._model(z, quality)
        return Reconstruction(self.synthesize(quantized.latents, quality), quantized)

    def encode(self, x: Tensor, quality: int | None = None) -> Tensor:
        """Signal (B, C, *signal) to codes (B, K, *grid)."""
        z = self.encoder(x)
        return self.bottleneck.encode(z) if quality is None else self._model.encode(z, quality)

    def decode(self, codes: Tensor, quality: int | None = None) -> Tensor:
        """Codes (B, k, *grid), the first k codebooks, to signal (B, C, *signal)."""
        latents = self.bottleneck.decode(codes) if quality is None else self._model.decode(codes, quality)
        return self.synthesize(latents, quality)

    def synthesize(self, latents: Tensor, quality: Tensor | int | None = None) -> Tensor:
        """Latents (B, D, *grid) to signal (B, C, *signal); some decoders differ with the quality."""
        if quality is None or not getattr(self.decoder, "conditioned", False):
            return self.decoder(latents)
        return self.decoder(latents, quality)

    @property
    def _model(self) -> EntropyModel:
        if not isinstance(self.bottleneck, EntropyModel):
            raise InputError(f"a quality given; {type(self.bottleneck).__name__} has no qualities, leave it out")
        return self.bottleneck
