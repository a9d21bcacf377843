"""The networks of SNAC, the multi-scale neural audio codec (Siuzdak et al., arXiv 2410.14411, section 3).

x ── conv 7 ──▶ [ 3 residual units ── Snake ── conv 2s, stride s ] per stage ── attention ── conv 7 ──▶ steps
steps ── conv 7 ── conv 1 ── attention ──▶ [ Snake ── transposed conv 2s, stride s ── noise ── 3 residual units ]
      per stage ── Snake ── conv 7 ── tanh ──▶ x

Convolutions of residual units, the last of the encoder and the first of the decoder see each channel separately.
Codebooks at several rates share codes of several steps, so a position of the latent grid is a group of steps:
channel c · steps + s of the latents is channel c at step s, as in bottlenecks/multi_rate.py. Attention, if there is
any, sees windows of steps, and these begin with a position.
"""

from collections.abc import Sequence
from math import prod

from torch import Tensor, nn

from narrows.codecs.audio.dac import check_sizes
from narrows.codecs.base import Decoder, Encoder, Reach
from narrows.codecs.causal import Span
from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.codecs.layers.dilated import KERNEL, EncoderStage, decoder_span, encoder_span, residual_units, upsampling
from narrows.codecs.layers.local_attention import LocalAttention
from narrows.codecs.layers.noise import NoiseBlock, seeds_of
from narrows.codecs.layers.snake import Snake
from narrows.errors import InputError
from narrows.parts import part


class DecoderBlock(nn.Module):
    """(B, C, T) to (B, C / 2, T × stride); `place` is the number of the stage."""

    def __init__(self, channels: int, stride: int, place: int) -> None:
        super().__init__()
        after = channels // 2
        layers = (Snake(channels), upsampling(channels, after, stride), NoiseBlock(after, place))
        self.block = nn.ModuleList((*layers, *residual_units(after, groups=after)))

    def forward(self, x: Tensor, seeds: Tensor) -> Tensor:
        """(B, C, T) to (B, C / 2, T × stride); seeds (B, F) of the noise."""
        for layer in self.block:
            x = layer(x, seeds) if isinstance(layer, NoiseBlock) else layer(x)
        return x


@part("snac-encoder")
class SNACEncoder(Encoder):
    """Audio (B, 1, T), T a multiple of the stride, to latents (B, dim, T / stride).

    Args:
        width: channels of the first convolution; each stage doubles them.
        strides: of the stages.
        steps: of a position; `dim` is this times the channels after the stages.
        window: steps that attention sees together, a divisor of `steps`; 0: there is no attention.
    """

    def __init__(self, width: int = 48, strides: Sequence[int] = (2, 4, 8, 8), steps: int = 4, window: int = 0) -> None:
        super().__init__()
        check_sizes(width, strides, 1)
        check_steps(steps, window)
        widths = [width << stage for stage in range(len(strides) + 1)]
        last = widths[-1]
        self.channels, self.dim, self.stride = 1, steps * last, (prod(strides) * steps,)
        self.strides, self.steps, self.window = tuple(strides), steps, window
        self.block = nn.Sequential(
            nn.Conv1d(1, width, KERNEL, padding=KERNEL // 2),
            *(
                EncoderStage(before, after, stride, groups=before)
                for before, after, stride in zip(widths, widths[1:], strides, strict=False)
            ),
            *attention(last, window),
            nn.Conv1d(last, last, KERNEL, padding=KERNEL // 2, groups=last),
        )

    @property
    def reach(self) -> tuple[Reach, ...]:
        """Positions before and after on which a position depends."""
        span = Span(0, self.steps - 1).grown(KERNEL // 2)
        if self.window:
            span = span.coarser(self.window).finer(self.window)
        return (encoder_span(self.strides, span).reach(self.stride[0]),)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, T) to (B, dim, T / stride)."""
        self.check_signal(x)
        z: Tensor = self.block(x)
        return z.unflatten(2, (-1, self.steps)).movedim(3, 2).flatten(1, 2)


@part("snac-decoder")
class SNACDecoder(Decoder):
    """Latents (B, dim, F) to audio (B, 1, F × stride).

    Outside of training, the noise is a function of the latents: see layers/noise.py.

    Args:
        channels_in: channels of a step; `dim` is `steps` times this.
        width: channels after the first convolutions; each stage halves them.
        strides: of the stages.
        steps: of a position.
        window: steps that attention sees together, a divisor of `steps`; 0: there is no attention.
    """

    def __init__(
        self,
        channels_in: int = 768,
        width: int = 1024,
        strides: Sequence[int] = (8, 8, 4, 2),
        steps: int = 4,
        window: int = 0,
    ) -> None:
        super().__init__()
        check_sizes(width, strides, channels_in)
        check_steps(steps, window)
        if width % (1 << len(strides)):
            raise InputError(f"expected a width that {len(strides)} stages can halve, got {width}")
        self.channels, self.dim, self.stride = 1, steps * channels_in, (prod(strides) * steps,)
        self.strides, self.steps, self.window = tuple(strides), steps, window
        widths = [width >> stage for stage in range(len(strides) + 1)]
        self.model = nn.ModuleList(
            (
                nn.Conv1d(channels_in, channels_in, KERNEL, padding=KERNEL // 2, groups=channels_in),
                nn.Conv1d(channels_in, width, 1),
                *attention(width, window),
                *(
                    DecoderBlock(channels, stride, place)
                    for place, (channels, stride) in enumerate(zip(widths, strides, strict=False))
                ),
                Snake(widths[-1]),
                nn.Conv1d(widths[-1], 1, KERNEL, padding=KERNEL // 2),
                nn.Tanh(),
            )
        )

    @property
    def reach(self) -> tuple[Reach, ...]:
        """Positions before and after on which a block of `stride` samples depends."""
        span = decoder_span(self.strides, Span(0, self.stride[0] - 1))
        if self.window:
            span = span.coarser(self.window).finer(self.window)
        return (span.grown(KERNEL // 2).reach(self.steps),)

    def forward(self, z: Tensor, quality_index: Tensor | int | None = None) -> Tensor:
        """(B, dim, F) to (B, 1, F × stride)."""
        x = z.unflatten(1, (-1, self.steps)).movedim(2, 3).flatten(2)  # (B, channels_in, F × steps)
        seeds = seeds_of(x)
        for layer in self.model:
            x = layer(x, seeds) if isinstance(layer, DecoderBlock) else layer(x)
        return x


def check_steps(steps: int, window: int) -> None:
    """Raise InputError for numbers of steps that no codec has."""
    check_integers(1, MAX_SIZE, steps=steps)
    check_integers(0, MAX_SIZE, window=window)
    if window and steps % window:
        raise InputError(f"expected a window of attention that divides {steps} steps, got {window}")


def attention(channels: int, window: int) -> list[nn.Module]:
    """The layer of attention, if there is one."""
    return [LocalAttention(channels, window)] if window else []
