"""A bottleneck inside a bottleneck: the inner one quantizes the latents of the outer one.

Re-Bottleneck: Bralios et al., arXiv 2507.07867.

    z ──▶ outer ──▶ latents ──▶ inner ──▶ latents
                                │   ▲
                                ▼   │
                                codes
"""

from torch import Tensor

from narrows.codecs.base import Bottleneck, Quantized
from narrows.errors import InputError
from narrows.parts import part


@part("nested")
class Nested(Bottleneck):
    """The inner bottleneck gives codes, rate and prefixes; losses and metrics are named 'outer/…' and 'inner/…'.

    Args:
        outer: bottleneck of the finished codec.
        inner: bottleneck of the same dim.
        frozen: keep the outer bottleneck in eval mode, without noise, EMA updates and parameter gradients; gradients
            still pass through it to the encoder.
    """

    def __init__(self, outer: Bottleneck, inner: Bottleneck, frozen: bool = False) -> None:
        super().__init__()
        if not isinstance(outer, Bottleneck) or not isinstance(inner, Bottleneck) or type(frozen) is not bool:
            given = f"{type(outer).__name__}, {type(inner).__name__} and frozen={frozen!r}"
            raise InputError(f"expected two bottlenecks and True or False, got {given}")
        if outer.dim != inner.dim:
            raise InputError(f"expected outer and inner of one dim, got {outer.dim} and {inner.dim}")
        self.outer, self.inner, self.dim, self.frozen = outer, inner, inner.dim, frozen
        if frozen:
            outer.requires_grad_(False).eval()
        self.codebook_sizes, self.prefixes = inner.codebook_sizes, inner.prefixes

    def train(self, mode: bool = True) -> "Nested":
        """Training mode; a frozen outer bottleneck stays in eval mode."""
        super().train(mode)
        if self.frozen:
            self.outer.eval()
        return self

    @property
    def radices(self) -> tuple[tuple[int, ...], ...]:
        """The radices of the inner bottleneck."""
        return self.inner.radices

    def forward(self, z: Tensor) -> Quantized:
        """Quantize latents (B, D, *grid)."""
        outer: Quantized = self.outer(z)
        inner: Quantized = self.inner(outer.latents)
        losses = _prefixed("outer", outer.item_losses) | _prefixed("inner", inner.item_losses)
        metrics = _prefixed("outer", outer.metrics) | _prefixed("inner", inner.metrics)
        return Quantized(inner.latents, inner.codes, losses, inner.bits, metrics)

    def encode(self, z: Tensor) -> Tensor:
        """Encode latents (B, D, *grid) to codes (B, K, *grid) int64 of the inner bottleneck."""
        return self.inner.encode(self.outer(z).latents)

    def decode(self, codes: Tensor) -> Tensor:
        """Decode codes (B, k, *grid) to latents (B, D, *grid)."""
        return self.inner.decode(codes)


def _prefixed(prefix: str, values: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": value for name, value in values.items()}
