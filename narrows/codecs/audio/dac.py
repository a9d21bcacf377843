"""The networks of DAC, the Descript Audio Codec (Kumar et al., arXiv 2306.06546, section 3.1).

x ── conv 7 ──▶ [ 3 residual units ── Snake ── conv 2s, stride s ] per stage ── Snake ── conv 3 ──▶ latents
latents ── conv 7 ──▶ [ Snake ── transposed conv 2s, stride s ── 3 residual units ] ── Snake ── conv 7 ── tanh ──▶ x
"""

from collections.abc import Sequence
from math import prod

from torch import Tensor, nn

from narrows.codecs.base import Decoder, Encoder, Reach
from narrows.codecs.checks import MAX_SIZE, check_integer_lists, check_integers
from narrows.codecs.layers.dilated import KERNEL, DecoderStage, EncoderStage, decoder_reach, encoder_reach
from narrows.codecs.layers.snake import Snake
from narrows.errors import InputError
from narrows.parts import part

MAX_STAGES = 12


@part("dac-encoder")
class DACEncoder(Encoder):
    """Audio (B, 1, T), T a multiple of the stride, to latents (B, dim, T / stride).

    Args:
        width: channels of the first convolution; each stage doubles them.
        strides: of the stages.
        dim: D of the latents.
    """

    def __init__(self, width: int = 64, strides: Sequence[int] = (2, 4, 8, 8), dim: int = 1024) -> None:
        super().__init__()
        check_sizes(width, strides, dim)
        self.channels, self.dim, self.stride = 1, dim, (prod(strides),)
        self.strides = tuple(strides)
        widths = [width << stage for stage in range(len(strides) + 1)]
        self.block = nn.Sequential(
            nn.Conv1d(1, width, KERNEL, padding=KERNEL // 2),
            *map(EncoderStage, widths, widths[1:], strides),
            Snake(widths[-1]),
            nn.Conv1d(widths[-1], dim, 3, padding=1),
        )

    @property
    def reach(self) -> tuple[Reach, ...]:
        """Latent frames before and after on which a latent frame depends."""
        return (encoder_reach(self.strides, 1),)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, T) to (B, dim, T / stride)."""
        self.check_signal(x)
        out: Tensor = self.block(x)
        return out


@part("dac-decoder")
class DACDecoder(Decoder):
    """Latents (B, dim, F) to audio (B, 1, F × stride).

    A transposed convolution of an odd stride makes one sample less than that. These samples are missing at the end, 8
    of the models for 16 and 24 kHz, and are filled with zeros.

    Args:
        width: channels after the first convolution; each stage halves them.
        strides: of the stages.
        dim: D of the latents.
    """

    def __init__(self, width: int = 1536, strides: Sequence[int] = (8, 8, 4, 2), dim: int = 1024) -> None:
        super().__init__()
        check_sizes(width, strides, dim)
        if width % (1 << len(strides)):
            raise InputError(f"expected a width that {len(strides)} stages can halve, got {width}")
        self.channels, self.dim, self.stride = 1, dim, (prod(strides),)
        self.strides = tuple(strides)
        widths = [width >> stage for stage in range(len(strides) + 1)]
        self.model = nn.Sequential(
            nn.Conv1d(dim, width, KERNEL, padding=KERNEL // 2),
            *(
                DecoderStage(before, after, stride, whole=False)
                for before, after, stride in zip(widths, widths[1:], strides, strict=False)
            ),
            Snake(widths[-1]),
            nn.Conv1d(widths[-1], 1, KERNEL, padding=KERNEL // 2),
            nn.Tanh(),
        )

    @property
    def reach(self) -> tuple[Reach, ...]:
        """Latent frames before and after on which a block of `stride` samples depends."""
        return (decoder_reach(self.strides, KERNEL // 2),)

    def forward(self, z: Tensor, quality_index: Tensor | int | None = None) -> Tensor:
        """(B, dim, F) to (B, 1, F × stride)."""
        x: Tensor = self.model(z)
        return nn.functional.pad(x, (0, z.shape[2] * self.stride[0] - x.shape[2]))


def check_sizes(width: int, strides: Sequence[int], dim: int) -> None:
    """Raise InputError for sizes that no codec has: descriptions may come from a file."""
    check_integers(1, MAX_SIZE, width=width, dim=dim)
    check_integer_lists(1, MAX_SIZE, strides=strides)
    if len(strides) > MAX_STAGES or width << len(strides) > MAX_SIZE << MAX_STAGES:
        raise InputError(f"expected at most {MAX_STAGES} stages, got {len(strides)}")
