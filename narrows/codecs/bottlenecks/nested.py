"""A bottleneck in a bottleneck: the inner one codes what the outer one returns (Bralios et al., Re-Bottleneck, arXiv
2507.07867).

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
    """Codes, rate and prefixes are the inner bottleneck's; losses and metrics bear the names 'outer/…' and 'inner/…'.

    frozen: the outer one is finished. It stays in eval mode, without noise, running means and gradients of its
    parameters, while the inner one learns; gradients still pass through it.
    """

    def __init__(self, outer: Bottleneck, inner: Bottleneck, frozen: bool = False) -> None:
        super().__init__()
        if not isinstance(outer, Bottleneck) or not isinstance(inner, Bottleneck) or type(frozen) is not bool:
            given = f"{type(outer).__name__}, {type(inner).__name__} and frozen={frozen!r}"
            raise InputError(f"{given} given, two bottlenecks and True or False wanted")
        if outer.dim != inner.dim:
            raise InputError(f"outer dim {outer.dim} and inner dim {inner.dim} given; one dim wanted")
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
        """Those of the inner bottleneck."""
        return self.inner.radices

    def forward(self, z: Tensor) -> Quantized:
        """Latents (B, D, *grid) to Quantized."""
        outer: Quantized = self.outer(z)
        inner: Quantized = self.inner(outer.latents)
        losses = _named("outer", outer.losses) | _named("inner", inner.losses)
        metrics = _named("outer", outer.metrics) | _named("inner", inner.metrics)
        return Quantized(inner.latents, inner.codes, losses, inner.bits, metrics)

    def encode(self, z: Tensor) -> Tensor:
        """Latents (B, D, *grid) to codes (B, K, *grid) int64 of the inner bottleneck."""
        return self.inner.encode(self.outer(z).latents)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, k, *grid) to latents (B, D, *grid)."""
        return self.inner.decode(codes)


def _named(place: str, values: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{place}/{name}": value for name, value in values.items()}
