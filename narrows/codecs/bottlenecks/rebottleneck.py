"""Re-Bottleneck: a small bottleneck with networks of its own, around which a finished codec gets another latent space.

Bralios, Casebeer and Smaragdis, arXiv 2507.07867. The codec stays as it is; only what is here is trained, with losses
between latents (see recipes/rebottleneck.py).

    x ──▶ encoder ──▶ z ──▶ inner encoder ──▶ y ──▶ bottleneck ──▶ y ──▶ inner decoder ──▶ z ──▶ decoder ──▶ x
                                                     │  ▲
                                                     codes
"""

from torch import Tensor

from narrows.codecs.base import Bottleneck, Decoder, Encoder, Quantized
from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.errors import InputError
from narrows.parts import part


@part("re-bottleneck")
class ReBottleneck(Bottleneck):
    """Latents (B, D, *grid) ⇄ codes of an inner bottleneck, between an encoder and a decoder of latents.

    `Codec(encoder, ReBottleneck(...), decoder)` is a codec of the inner latents: it gives the networks in here to its
    own encoder and decoder (see codecs/stacked.py), so that windows, streams, entropy models and continuous latents
    work as for any codec. `Nested(outer, ReBottleneck(...), frozen=True)` stands on what the codec's own bottleneck
    returns, where that quantizes each position alone.

    Args:
        inner_encoder: from the D channels of the codec's latents to the dim of the bottleneck, with stride 1.
        bottleneck: any bottleneck.
        inner_decoder: back again.
        quality_index: at which the codec's decoder runs, for one that takes a quality; else None.
    """

    def __init__(
        self,
        inner_encoder: Encoder,
        bottleneck: Bottleneck,
        inner_decoder: Decoder,
        quality_index: int | None = None,
    ) -> None:
        super().__init__()
        if quality_index is not None:
            check_integers(0, MAX_SIZE, quality_index=quality_index)
        for name, given, kind in (
            ("inner_encoder", inner_encoder, Encoder),
            ("bottleneck", bottleneck, Bottleneck),
            ("inner_decoder", inner_decoder, Decoder),
        ):
            if not isinstance(given, kind):
                raise InputError(f"expected {name} to be a {kind.__name__}, got {type(given).__name__}")
            given.check_declarations()
        dims, channels = (inner_encoder.dim, bottleneck.dim, inner_decoder.dim), inner_encoder.channels
        if len(set(dims)) > 1 or channels != inner_decoder.channels:
            raise InputError(
                f"expected parts of one dim and one number of channels, got dims {dims} and channels "
                f"{channels} and {inner_decoder.channels}"
            )
        if {*inner_encoder.stride, *inner_decoder.stride} != {1} or inner_encoder.stride != inner_decoder.stride:
            raise InputError(f"expected strides of 1, got {inner_encoder.stride} and {inner_decoder.stride}")
        self.inner_encoder, self.bottleneck, self.inner_decoder = inner_encoder, bottleneck, inner_decoder
        self.quality_index = quality_index
        self.dim, self.codebook_sizes, self.prefixes = channels, bottleneck.codebook_sizes, bottleneck.prefixes

    @property
    def radices(self) -> tuple[tuple[int, ...], ...]:
        """The radices of the inner bottleneck."""
        return self.bottleneck.radices

    @property
    def table_sizes(self) -> tuple[int, ...]:
        """The table sizes of the inner bottleneck."""
        return self.bottleneck.table_sizes

    @property
    def reach(self) -> int | None:
        """The largest reach of the inner networks and the bottleneck together; None if one of them sees everything."""
        reaches = (*self.inner_encoder.reach, *self.inner_decoder.reach)
        if None in reaches or self.bottleneck.reach is None:
            return None
        encoder, decoder = (max(max(reach or (0, 0)) for reach in each.reach) for each in self._networks)
        return encoder + self.bottleneck.reach + decoder

    @property
    def _networks(self) -> tuple[Encoder, Decoder]:
        return self.inner_encoder, self.inner_decoder

    def forward(self, z: Tensor) -> Quantized:
        """Latents (B, D, *grid) to what the inner bottleneck returns, with latents of the codec."""
        self._check_latents(z)
        inner: Quantized = self.bottleneck(self.inner_encoder(z.float()))
        latents: Tensor = self.inner_decoder(inner.latents)
        return Quantized(latents.to(z.dtype), inner.codes, inner.item_losses, inner.bits, inner.metrics)

    def encode(self, z: Tensor) -> Tensor:
        """Latents (B, D, *grid) to codes (B, K, *grid) of the inner bottleneck."""
        self._check_latents(z)
        return self.bottleneck.encode(self.inner_encoder(z.float()))

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, k, *grid) of the inner bottleneck to latents (B, D, *grid)."""
        latents: Tensor = self.inner_decoder(self.bottleneck.decode(codes))
        return latents
