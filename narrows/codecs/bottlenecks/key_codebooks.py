"""The keys of a discrete key-value bottleneck (Träuble et al., arXiv 2207.11240, section 2).

z (B, D, *grid) ── fixed random projections ──▶ K vectors ── nearest key of each codebook ──▶ codes (B, K, *grid)
"""

from narrows.codecs.bottlenecks.grouped import Grouped
from narrows.codecs.bottlenecks.vq import VQ
from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.codecs.quantization.codebooks import EMACodebook
from narrows.codecs.quantization.estimators import StraightThrough
from narrows.codecs.quantization.projection import RandomProjection
from narrows.parts import part

DECAY = 0.95  # of the EMA, per training step


@part("key-codebooks")
class KeyCodebooks(Grouped):
    """K codebooks of keys, each for a random projection of the latents. Keys are EMAs of the vectors next to them.

    Args:
        dim: D of the latents on both sides.
        codebooks: number of codebooks K.
        entries: number of keys of each codebook.
        key_dim: length of the keys.
    """

    def __init__(self, dim: int = 64, codebooks: int = 32, entries: int = 128, key_dim: int = 8) -> None:
        check_integers(1, MAX_SIZE, codebooks=codebooks)
        tables = [EMACodebook(key_dim, entries, DECAY) for _ in range(codebooks)]
        members = [VQ(key_dim, table, StraightThrough()) for table in tables]
        super().__init__(dim, members, RandomProjection(dim, codebooks * key_dim))
