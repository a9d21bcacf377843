"""The network of a codec: encoder, bottleneck, decoder.

x ──▶ encoder ──▶ z ──▶ bottleneck ──▶ latents ──▶ decoder ──▶ x
                          │  ▲
                          ▼  │
                         codes
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from narrows.codecs.base import Bottleneck, Decoder, Encoder, Quantized, Reach
from narrows.codecs.bottlenecks.entropy.base import EntropyModel
from narrows.errors import InputError
from narrows.parts import part


@dataclass(frozen=True)
class Reconstruction:
    """The result of a codec's `forward`: the decoded x, of the shape of the input, and what the bottleneck returned."""

    x: Tensor
    quantized: Quantized


@part("codec")
class Codec(nn.Module):
    """x (B, C, *signal) ⇄ codes (B, K, *grid); each axis of the signal is a multiple of its stride.

    Encoder and decoder may be cast to another dtype (`codec.half()`, `codec.bfloat16()`): signals and latents are then
    cast to it. Bottlenecks compute in float32.

    Codes are not checked for their range here, since that would make the host wait for a GPU: `bottleneck.check_codes`
    does it for codes from users and files.

    Args:
        encoder, bottleneck, decoder: the parts, of one latent dim; encoder and decoder of equal channels and strides.

    Raises:
        InputError: for parts that do not fit each other.
    """

    kind: ClassVar[str] = "codec"

    def __init__(self, encoder: Encoder, bottleneck: Bottleneck, decoder: Decoder) -> None:
        super().__init__()
        for name, instance, kind in (
            ("encoder", encoder, Encoder),
            ("bottleneck", bottleneck, Bottleneck),
            ("decoder", decoder, Decoder),
        ):
            if not isinstance(instance, kind):
                raise InputError(f"expected the {name} to be a {kind.__name__}, got {type(instance).__name__}")
            instance.check_declarations()
        if encoder.dim != bottleneck.dim or bottleneck.dim != decoder.dim:
            dims = f"encoder {encoder.dim}, bottleneck {bottleneck.dim}, decoder {decoder.dim}"
            raise InputError(f"expected parts of one latent dim, got {dims}")
        if encoder.stride != decoder.stride:
            raise InputError(
                f"expected one stride, got {encoder.stride} of the encoder, {decoder.stride} of the decoder"
            )
        if encoder.channels != decoder.channels:
            channels = f"{encoder.channels} of the encoder, {decoder.channels} of the decoder"
            raise InputError(f"expected one number of channels, got {channels}")
        self.encoder, self.bottleneck, self.decoder = encoder, bottleneck, decoder

    @property
    def channels(self) -> int:
        """C of the signal."""
        return self.encoder.channels

    @property
    def stride(self) -> tuple[int, ...]:
        """Samples of the signal per position of the grid, one number per axis."""
        return self.encoder.stride

    @property
    def bounded(self) -> bool:
        """Whether outputs depend on a bounded part of the input along every axis, so that windows are exact."""
        reaches: tuple[Reach, ...] = (*self.encoder.reach, *self.decoder.reach)
        return self.bottleneck.reach is not None and None not in reaches

    def forward(self, x: Tensor, quality_index: Tensor | int | None = None) -> Reconstruction:
        """Signal (B, C, *signal) to its Reconstruction.

        Args:
            x: the signal.
            quality_index: of a bottleneck with several qualities (an EntropyModel): one for the batch, or in training
                (B,) one per item, which may lie between two indices.
        """
        z = self.analyze(x)
        quantized = self.bottleneck(z) if quality_index is None else self._entropy_model(z, quality_index)
        return Reconstruction(self.synthesize(quantized.latents, quality_index), quantized)

    def encode(self, x: Tensor, quality_index: int | None = None) -> Tensor:
        """Signal (B, C, *signal) to codes (B, K, *grid)."""
        z = self.analyze(x)
        return self.bottleneck.encode(z) if quality_index is None else self._entropy_model.encode(z, quality_index)

    def decode(self, codes: Tensor, quality_index: int | None = None) -> Tensor:
        """Codes (B, k, *grid), the first k codebooks, to signal (B, C, *signal)."""
        if quality_index is None:
            return self.synthesize(self.bottleneck.decode(codes))
        return self.synthesize(self._entropy_model.decode(codes, quality_index), quality_index)

    def analyze(self, x: Tensor) -> Tensor:
        """Signal (B, C, *signal) to latents (B, D, *grid), in the dtype of the encoder."""
        return self.encoder(x.to(_dtype(self.encoder)))

    def synthesize(self, latents: Tensor, quality_index: Tensor | int | None = None) -> Tensor:
        """Latents (B, D, *grid) to signal (B, C, *signal), in the dtype of the decoder."""
        z = latents.to(_dtype(self.decoder))
        return self.decoder(z, quality_index) if self.decoder.conditioned else self.decoder(z)

    @property
    def _entropy_model(self) -> EntropyModel:
        if not isinstance(self.bottleneck, EntropyModel):
            raise InputError(
                f"expected no quality for {type(self.bottleneck).__name__}, which has only one, got one; leave it out"
            )
        return self.bottleneck


def _dtype(network: nn.Module) -> torch.dtype:
    """The dtype of the weights of a network."""
    for parameter in network.parameters():
        return parameter.dtype
    return torch.float32
