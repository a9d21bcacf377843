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
from narrows.codecs.stacked import stacked
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

    An encoder of `any_length` also takes other sizes; the decoded signal is then longer, up to the next multiple.

    Encoder and decoder may be cast to another dtype (`codec.half()`, `codec.bfloat16()`): signals and latents are then
    cast to it. Bottlenecks compute in float32.

    The networks of a ReBottleneck become a part of encoder and decoder, see `stacked`.

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
        encoder, bottleneck, decoder = stacked(encoder, bottleneck, decoder)
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
        quantized = self.quantize(z, quality_index)
        if quality_index is None and quantized.codes is not None:
            quality_index = self._prefix_index(quantized.codes)
        return Reconstruction(self.synthesize(quantized.latents, quality_index), quantized)

    def encode(self, x: Tensor, quality_index: int | None = None) -> Tensor:
        """Signal (B, C, *signal) to codes (B, K, *grid)."""
        z = self.analyze(x)
        return self.bottleneck.encode(z) if quality_index is None else self._entropy_model.encode(z, quality_index)

    def decode(self, codes: Tensor, quality_index: int | None = None) -> Tensor:
        """Codes (B, k, *grid), the first k codebooks, to signal (B, C, *signal).

        Where there are no qualities, a conditioned decoder gets the place of k in `bottleneck.prefixes` as its quality.
        """
        if quality_index is None:
            return self.synthesize(self.bottleneck.decode(codes), self._prefix_index(codes))
        return self.synthesize(self._entropy_model.decode(codes, quality_index), quality_index)

    def analyze(self, x: Tensor) -> Tensor:
        """Signal (B, C, *signal) to latents (B, D, *grid), in the dtype of the encoder.

        Raises:
            InputError: for a signal that the encoder does not take, and if the encoder returns another shape.
        """
        z = self.encoder(x.to(_dtype(self.encoder)))
        grid = [-(-size // stride) for size, stride in zip(x.shape[2:], self.stride, strict=False)]
        return _checked_shape(z, (x.shape[0], self.encoder.dim, *grid), self.encoder, x)

    def quantize(self, z: Tensor, quality_index: Tensor | int | None = None) -> Quantized:
        """Latents (B, D, *grid) to what the bottleneck's `forward` returns.

        Raises:
            InputError: if the bottleneck returns anything else than a Quantized with latents of this shape.
        """
        quantized = self.bottleneck(z) if quality_index is None else self._entropy_model(z, quality_index)
        return checked_quantized(self.bottleneck, z, quantized)

    def synthesize(self, latents: Tensor, quality_index: Tensor | int | None = None) -> Tensor:
        """Latents (B, D, *grid) to signal (B, C, *signal), in the dtype of the decoder.

        Raises:
            InputError: if the decoder returns another shape.
        """
        z = latents.to(_dtype(self.decoder))
        x = self.decoder(z, quality_index) if self.decoder.conditioned else self.decoder(z)
        signal = [size * stride for size, stride in zip(z.shape[2:], self.stride, strict=False)]
        return _checked_shape(x, (z.shape[0], self.decoder.channels, *signal), self.decoder, z)

    def _prefix_index(self, codes: Tensor) -> int | None:
        """The place of the number of codebooks among the prefixes, if the decoder is conditioned on it."""
        if not self.decoder.conditioned or isinstance(self.bottleneck, EntropyModel):
            return None
        if codes.shape[1] not in self.bottleneck.prefixes:
            prefixes = ", ".join(map(str, self.bottleneck.prefixes))
            raise InputError(f"expected codes of {prefixes} codebooks, got {codes.shape[1]}; keep one of these numbers")
        return self.bottleneck.prefixes.index(codes.shape[1])

    @property
    def _entropy_model(self) -> EntropyModel:
        if not isinstance(self.bottleneck, EntropyModel):
            raise InputError(
                f"expected no quality for {type(self.bottleneck).__name__}, which has only one, got one; leave it out"
            )
        return self.bottleneck


def checked_quantized(bottleneck: Bottleneck, z: Tensor, quantized: object) -> Quantized:
    """What a bottleneck has returned for latents z, if it is a Quantized of their shape. Raises InputError if not."""
    if not isinstance(quantized, Quantized):
        got = "None" if quantized is None else f"a {type(quantized).__name__}"
        raise InputError(f"expected {type(bottleneck).__name__}.forward to return a Quantized, got {got}")
    _checked_shape(quantized.latents, tuple(z.shape), bottleneck, z)
    return quantized


def _checked_shape(out: Tensor, shape: tuple[int, ...], part: nn.Module, given: Tensor) -> Tensor:
    """The output of a part, if it has the shape that the part declares. Values are not looked at."""
    if torch.compiler.is_compiling():  # shapes are symbols there, and a comparison would fix them
        return out
    if not isinstance(out, Tensor) or tuple(out.shape) != shape:
        got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise InputError(
            f"expected {type(part).__name__}.forward to return {shape} for {tuple(given.shape)}, got {got}; "
            "correct it, or what the class declares"
        )
    return out


def _dtype(network: nn.Module) -> torch.dtype:
    """The dtype of the weights of a network."""
    for parameter in network.parameters():
        return parameter.dtype
    return torch.float32
