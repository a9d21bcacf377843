"""Multi-codebook quantization: a sub-codebook per group of channels (UniTok, Ma et al., arXiv 2502.20321, 3.2)."""

from narrows.codecs.bottlenecks.grouped import Grouped
from narrows.codecs.bottlenecks.vq import VQ
from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.codecs.quantization.attention_projection import AttentionProjection
from narrows.codecs.quantization.codebooks import LearnedCodebook
from narrows.codecs.quantization.estimators import StraightThrough
from narrows.codecs.quantization.projection import Projection
from narrows.parts import part


@part("multi-codebook")
class MultiCodebook(Grouped):
    """K learned cosine codebooks, one per group of channels.

    The gradient is straight-through, as in UniTok; in our measurements it was better than the rotation trick.

    Args:
        dim: D of the latents on both sides.
        codebooks: number of codebooks K.
        entries: number of codes of each sub-codebook.
        code_dim: channels of a group.
        projection: projection from D to codebooks · code_dim channels and back; by default a Projection. UniTok has an
            AttentionProjection.
    """

    def __init__(
        self,
        dim: int = 64,
        codebooks: int = 8,
        entries: int = 4096,
        code_dim: int = 8,
        projection: Projection | AttentionProjection | None = None,
    ) -> None:
        check_integers(1, MAX_SIZE, codebooks=codebooks)
        tables = [LearnedCodebook(code_dim, entries, cosine=True) for _ in range(codebooks)]
        super().__init__(dim, [VQ(code_dim, table, StraightThrough()) for table in tables], projection)
