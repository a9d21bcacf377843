"""The networks of NanoCodec (Casanova et al., arXiv 2508.05835, section 2), of NVIDIA's NeMo.

x ── conv 7 ──▶ [ blocks of 3 kernels ── leaky ReLU ── conv 2s, stride s ] per stage ── leaky ReLU ── conv 7 ──▶ latents
latents ── conv 7 ──▶ [ HalfSnake ── transposed conv 2s, stride s ── blocks of 3 kernels ] ── HalfSnake ── conv 3 ──▶ x

The encoder looks ahead, and the first and last sample continue beyond the ends of a recording. The decoder is causal.
"""

from collections.abc import Sequence
from math import prod

from torch import Tensor, nn

from narrows.codecs.audio.dac import check_sizes
from narrows.codecs.base import Encoder, Reach
from narrows.codecs.causal import CausalDecoder, Span
from narrows.codecs.layers.causal import CausalConv, CausalSequential, Run
from narrows.codecs.layers.causal_upsampling import CausalTransposedConv
from narrows.codecs.layers.multi_kernel import REACH, SLOPE, HalfSnake, MultiKernel
from narrows.errors import InputError
from narrows.parts import part

FIRST, LAST = 7, 3  # kernels of the convolutions before the stages, and of the last one of the decoder
TIMES = 8  # latents in a call of the decoder


def _centred(channels: int, kernel: int, dilation: int) -> nn.Conv1d:
    padding = (kernel - 1) * dilation // 2
    return nn.Conv1d(channels, channels, kernel, dilation=dilation, padding=padding, padding_mode="replicate")


def _causal(channels: int, kernel: int, dilation: int) -> CausalConv:
    return CausalConv(channels, channels, (kernel,), dilation=dilation, repeat=False)


def _leaky(channels: int) -> nn.Module:
    return nn.LeakyReLU(SLOPE)


@part("nanocodec-encoder")
class NanoCodecEncoder(Encoder):
    """Mono audio (B, 1, T), T a multiple of the stride, to latents (B, dim, T / stride).

    Args:
        width: channels of the first convolution; each stage doubles them.
        strides: of the stages.
        dim: D of the latents.
    """

    def __init__(self, width: int = 24, strides: Sequence[int] = (2, 3, 6, 7, 7), dim: int = 16) -> None:
        super().__init__()
        check_sizes(width, strides, dim)
        self.channels, self.dim, self.stride = 1, dim, (prod(strides),)
        self.strides = tuple(strides)
        layers: list[nn.Module] = [nn.Conv1d(1, width, FIRST, padding=FIRST // 2, padding_mode="replicate")]
        for stage, stride in enumerate(strides):
            before, margin = width << stage, -(-stride // 2)
            layers += [
                MultiKernel(before, _centred, _leaky),
                _leaky(before),
                nn.Conv1d(before, 2 * before, 2 * stride, stride, padding=margin, padding_mode="replicate"),
            ]
        widest = width << len(strides)
        last = nn.Conv1d(widest, dim, FIRST, padding=FIRST // 2, padding_mode="replicate")
        self.layers = nn.Sequential(*layers, _leaky(widest), last)

    @property
    def reach(self) -> tuple[Reach, ...]:
        """Latent frames before and after on which a latent frame depends."""
        span = Span(0, 0).grown(FIRST // 2)
        for stride in reversed(self.strides):
            span = span.convolved(2 * stride, stride, -(-stride // 2)).grown(REACH // 2)
        return (span.grown(FIRST // 2).reach(self.stride[0]),)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, T) to (B, dim, T / stride)."""
        self.check_signal(x)
        out: Tensor = self.layers(x)
        return out


@part("nanocodec-decoder")
class NanoCodecDecoder(CausalDecoder):
    """Latents (B, dim, F) to mono audio (B, 1, F × stride) within ±1. Transposed convolutions see few channels each.

    Args:
        width: channels after the first convolution; each stage halves them.
        strides: of the stages.
        dim: D of the latents.
    """

    times = TIMES

    def __init__(self, width: int = 864, strides: Sequence[int] = (7, 7, 6, 3, 2), dim: int = 16) -> None:
        super().__init__()
        check_sizes(width, strides, dim)
        if width % (1 << len(strides)) or width >> len(strides) < 2:
            raise InputError(f"expected a width that {len(strides)} stages can halve to at least 2, got {width}")
        self.channels, self.dim, self.stride = 1, dim, (prod(strides),)
        self.strides = tuple(strides)
        layers: list[nn.Module] = [CausalConv(dim, width, (FIRST,), repeat=False)]
        for stage, stride in enumerate(strides):
            before, after = width >> stage, width >> stage + 1
            layers += [
                HalfSnake(before),
                CausalTransposedConv(before, after, 2 * stride, stride, groups=after),
                MultiKernel(after, _causal, HalfSnake),
            ]
        last = width >> len(strides)
        self.layers = CausalSequential(*layers, HalfSnake(last), CausalConv(last, 1, (LAST,), repeat=False))

    @property
    def reach(self) -> tuple[Reach, ...]:
        """Latent frames before on which a block of `stride` samples depends; none after."""
        span = Span(0, self.stride[0] - 1).grown(LAST - 1, 0)
        for stride in reversed(self.strides):
            span = span.grown(REACH, 0).upsampled(2 * stride, stride, 0)
        return (span.grown(FIRST - 1, 0).reach(),)

    def advance(self, z: Tensor, run: Run, quality_index: Tensor | int | None) -> Tensor:
        """The next latents."""
        return run(self.layers, z).clamp(-1, 1)
