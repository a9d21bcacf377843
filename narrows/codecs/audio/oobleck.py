"""The networks of Oobleck, the autoencoder of Stable Audio (Evans et al., arXiv 2404.10301, section 3.1).

x ── conv 7 ──▶ [ 3 residual units ── SnakeBeta ── conv 2s, stride s ] per stage ── SnakeBeta ── conv 3 ──▶ latents
latents ── conv 7 ──▶ [ SnakeBeta ── transposed conv 2s, stride s ── 3 residual units ] ── SnakeBeta ── conv 7 ──▶ x

They go with a SplitGaussian bottleneck: the encoder gives means and scales, and the decoder takes the first half of its
latents, the channels that a generative model makes.
"""

from collections.abc import Sequence
from math import prod

from torch import Tensor, nn

from narrows.codecs.audio.dac import MAX_STAGES
from narrows.codecs.base import Decoder, Encoder, Reach
from narrows.codecs.checks import MAX_SIZE, check_integer_lists, check_integers
from narrows.codecs.layers.dilated import KERNEL, DecoderStage, EncoderStage, decoder_reach, encoder_reach
from narrows.codecs.layers.snake import SnakeBeta
from narrows.errors import InputError
from narrows.parts import part


@part("oobleck-encoder")
class OobleckEncoder(Encoder):
    """Audio (B, C, T), T a multiple of the stride, to latents (B, 2 latents, T / stride).

    Args:
        width: channels of the first convolution.
        multiples: of the width, after each stage.
        strides: of the stages.
        latents: number of means, and of scales.
        channels: C; several channels are coded jointly.
    """

    def __init__(
        self,
        width: int = 128,
        multiples: Sequence[int] = (1, 2, 4, 8, 16),
        strides: Sequence[int] = (2, 4, 4, 8, 8),
        latents: int = 64,
        channels: int = 2,
    ) -> None:
        super().__init__()
        check_sizes(width, multiples, strides, latents, channels)
        self.channels, self.dim, self.stride = channels, 2 * latents, (prod(strides),)
        self.strides = tuple(strides)
        widths = [width, *(width * multiple for multiple in multiples)]
        self.block = nn.Sequential(
            nn.Conv1d(channels, width, KERNEL, padding=KERNEL // 2),
            *(
                EncoderStage(before, after, stride, activation=SnakeBeta)
                for before, after, stride in zip(widths, widths[1:], strides, strict=False)
            ),
            SnakeBeta(widths[-1]),
            nn.Conv1d(widths[-1], self.dim, 3, padding=1),
        )

    @property
    def reach(self) -> tuple[Reach, ...]:
        """Latent frames before and after on which a latent frame depends."""
        return (encoder_reach(self.strides, 1),)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) to (B, 2 latents, T / stride)."""
        self.check_signal(x)
        out: Tensor = self.block(x)
        return out


@part("oobleck-decoder")
class OobleckDecoder(Decoder):
    """Latents (B, 2 latents, F), of which the second half is not used, to audio (B, C, F × stride).

    Args:
        width: channels before the last convolution.
        multiples: of the width, after the first convolution and each stage but the last, in whose output it is 1.
        strides: of the stages. A transposed convolution of an odd stride makes one sample less than that; those that
            are missing at the end are filled with zeros.
        latents: channels that are decoded.
        channels: C.
    """

    def __init__(
        self,
        width: int = 128,
        multiples: Sequence[int] = (16, 8, 4, 2, 1),
        strides: Sequence[int] = (8, 8, 4, 4, 2),
        latents: int = 64,
        channels: int = 2,
    ) -> None:
        super().__init__()
        check_sizes(width, multiples, strides, latents, channels)
        self.channels, self.dim, self.stride = channels, 2 * latents, (prod(strides),)
        self.strides, self.latents = tuple(strides), latents
        widths = [*(width * multiple for multiple in multiples), width]
        self.block = nn.Sequential(
            nn.Conv1d(latents, widths[0], KERNEL, padding=KERNEL // 2),
            *(
                DecoderStage(before, after, stride, SnakeBeta, whole=False)
                for before, after, stride in zip(widths, widths[1:], strides, strict=False)
            ),
            SnakeBeta(width),
            nn.Conv1d(width, channels, KERNEL, padding=KERNEL // 2, bias=False),
        )

    @property
    def reach(self) -> tuple[Reach, ...]:
        """Latent frames before and after on which a block of `stride` samples depends."""
        return (decoder_reach(self.strides, KERNEL // 2),)

    def forward(self, z: Tensor, quality_index: Tensor | int | None = None) -> Tensor:
        """(B, 2 latents, F) to (B, C, F × stride)."""
        x: Tensor = self.block(z[:, : self.latents])
        return nn.functional.pad(x, (0, z.shape[2] * self.stride[0] - x.shape[2]))


def check_sizes(width: int, multiples: Sequence[int], strides: Sequence[int], latents: int, channels: int) -> None:
    """Raise InputError for sizes that no codec has: descriptions may come from a file."""
    check_integers(1, MAX_SIZE, width=width, latents=latents, channels=channels)
    check_integer_lists(1, MAX_SIZE, multiples=multiples, strides=strides)
    if len(strides) > MAX_STAGES or len(multiples) != len(strides):
        raise InputError(
            f"expected at most {MAX_STAGES} strides and as many multiples, got {len(strides)} and {len(multiples)}"
        )
