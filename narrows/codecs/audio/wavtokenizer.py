"""The decoder of WavTokenizer: that of Vocos, with attention over the whole signal (Ji et al., arXiv 2408.16532, 3.4).

    (B, D, F) ─ convolution ─ 2 residual ─ attention ─ 2 residual ─ norm ─ the rest of Vocos ─▶ (B, 1, T)

The encoder is the non-causal one of EnCodec, of 512 latent channels.
"""

from torch import Tensor, nn

from narrows.codecs.audio.vocos import AdaptiveVocosDecoder
from narrows.codecs.base import Reach
from narrows.codecs.layers.resnet import AttentionBlock, ResidualBlock, group_norm
from narrows.parts import part


@part("wavtokenizer-decoder")
class WavTokenizerDecoder(AdaptiveVocosDecoder):
    """Latents (B, dim, F) to mono audio (B, 1, F × hop).

    It was trained on 3 seconds; its authors see noise on recordings much longer than that (their issues 3 and 31).

    Args:
        dim, width, hidden, depth, n_fft, hop, centred, qualities: as of AdaptiveVocosDecoder; the width is a multiple
            of 32. The published models have four qualities, and use the first.
    """

    def __init__(
        self,
        dim: int = 512,
        width: int = 768,
        hidden: int = 2304,
        depth: int = 12,
        n_fft: int = 1280,
        hop: int = 320,
        centred: bool = False,
        qualities: int = 4,
    ) -> None:
        super().__init__(dim, width, hidden, depth, n_fft, hop, centred, qualities)
        self.pos_net = nn.Sequential(
            ResidualBlock(width),
            ResidualBlock(width),
            AttentionBlock(width),
            ResidualBlock(width),
            ResidualBlock(width),
            group_norm(width),
        )

    @property
    def reach(self) -> tuple[Reach, ...]:
        """Unbounded: norms and attention see the whole signal."""
        return (None,)

    def _embedded(self, z: Tensor) -> Tensor:
        h: Tensor = self.pos_net(self.embed(z))
        return h
