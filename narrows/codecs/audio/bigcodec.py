"""The networks of BigCodec (Xin et al., arXiv 2409.05377, section 3.1), whose encoder X-Codec 2 and NeuCodec share.

x ── conv 7 ──▶ [ 3 residual units ── act ── conv 2s, stride s ] per stage ── LSTM ── act ── conv 3 ──▶ latents
latents ── conv 7 ── LSTM ──▶ [ act ── transposed conv 2s, stride s ── 3 residual units ] ── act ── conv 7 ── tanh ──▶ x

All activations are SnakeBeta at twice the rate (see alias_free.py).
"""

from collections.abc import Sequence
from math import prod

from torch import Tensor, nn

from narrows.codecs.audio.dac import check_sizes
from narrows.codecs.base import Decoder, Encoder, Reach
from narrows.codecs.layers.alias_free import alias_free_snake
from narrows.codecs.layers.dilated import KERNEL, DecoderStage, EncoderStage
from narrows.codecs.layers.reflected import ResidualLSTM
from narrows.errors import InputError
from narrows.parts import part

LSTM_LAYERS = 2


def stages(width: int, strides: Sequence[int]) -> list[nn.Module]:
    """The first convolution of an encoder, to `width` channels, and its stages, each of which doubles the channels."""
    first = nn.Conv1d(1, width, KERNEL, padding=KERNEL // 2)
    widths = [width << stage for stage in range(len(strides) + 1)]
    return [
        first,
        *(
            EncoderStage(before, after, stride, activation=alias_free_snake)
            for before, after, stride in zip(widths, widths[1:], strides, strict=False)
        ),
    ]


@part("bigcodec-encoder")
class BigCodecEncoder(Encoder):
    """Mono audio (B, 1, T), T a multiple of the stride, to latents (B, dim, T / stride).

    Args:
        width: channels of the first convolution; each stage doubles them.
        strides: of the stages.
        dim: D of the latents.
    """

    def __init__(self, width: int = 48, strides: Sequence[int] = (2, 2, 2, 5, 5), dim: int = 1024) -> None:
        super().__init__()
        check_sizes(width, strides, dim)
        self.channels, self.dim, self.stride = 1, dim, (prod(strides),)
        widest = width << len(strides)
        self.block = nn.Sequential(
            *stages(width, strides),
            ResidualLSTM(widest, LSTM_LAYERS),
            alias_free_snake(widest),
            nn.Conv1d(widest, dim, 3, padding=1),
        )

    @property
    def reach(self) -> tuple[Reach, ...]:
        """Unbounded: the LSTM remembers all earlier latents."""
        return (None,)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, T) to (B, dim, T / stride)."""
        self.check_signal(x)
        out: Tensor = self.block(x)
        return out


@part("bigcodec-decoder")
class BigCodecDecoder(Decoder):
    """Latents (B, dim, F) to mono audio (B, 1, F × stride).

    Args:
        width: channels after the first convolution; each stage halves them.
        strides: of the stages.
        dim: D of the latents.
    """

    def __init__(self, width: int = 1536, strides: Sequence[int] = (5, 5, 2, 2, 2), dim: int = 1024) -> None:
        super().__init__()
        check_sizes(width, strides, dim)
        if width % (1 << len(strides)):
            raise InputError(f"expected a width that {len(strides)} stages can halve, got {width}")
        self.channels, self.dim, self.stride = 1, dim, (prod(strides),)
        last = width >> len(strides)
        self.model = nn.Sequential(
            nn.Conv1d(dim, width, KERNEL, padding=KERNEL // 2),
            ResidualLSTM(width, LSTM_LAYERS),
            *(
                DecoderStage(width >> stage, width >> stage + 1, stride, alias_free_snake)
                for stage, stride in enumerate(strides)
            ),
            alias_free_snake(last),
            nn.Conv1d(last, 1, KERNEL, padding=KERNEL // 2),
            nn.Tanh(),
        )

    @property
    def reach(self) -> tuple[Reach, ...]:
        """Unbounded: the LSTM remembers all earlier latents."""
        return (None,)

    def forward(self, z: Tensor, quality_index: Tensor | int | None = None) -> Tensor:
        """(B, dim, F) to (B, 1, F × stride)."""
        x: Tensor = self.model(z)
        return x
