"""The network of Mimi (Défossez et al., arXiv 2410.00037, section 3.3.1): a causal SEANet and a transformer.

    x ─ conv 7 ─ [residual ─ ELU ─ strided conv] per stride ─ ELU ─ conv 3 ─ transformer ─ strided conv ─▶ latents
        24 kHz                                                       25 Hz                 12.5 Hz

The decoder is the mirror image; its transposed convolution to 25 Hz is of each channel alone, as in the published
weights. Everything looks back only, so encoder and decoder run step by step.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from narrows.codecs.base import Reach, State
from narrows.codecs.causal import CausalDecoder, CausalEncoder, Span
from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.codecs.layers.causal import Causal, CausalConv, CausalSequential, Run, States
from narrows.codecs.layers.causal_transformer import TransformerLayer
from narrows.codecs.layers.causal_upsampling import CausalTransposedConv
from narrows.codecs.layers.seanet import (
    FIRST_KERNEL,
    RESIDUAL_KERNEL,
    Layers,
    check_sizes,
    decoder_layers,
    encoder_layers,
)
from narrows.parts import part

LAST_KERNEL = 3
FOLD = 2  # positions of the transformer per latent
TIMES = 64  # latents in one call
MAX_DEPTH = 256  # layers of the transformer


class Residual(Causal):
    """(B, C, T) to the same: x plus two convolutions of it, each after an ELU.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(1, channels // 2)
        self.block = CausalSequential(
            nn.ELU(), _conv(channels, hidden, RESIDUAL_KERNEL), nn.ELU(), _conv(hidden, channels, 1)
        )

    def start(self, batch: int) -> States:
        """No layer has run."""
        return States()

    def step(self, x: Tensor, state: State) -> tuple[Tensor, States]:
        """The next times."""
        out, state = self.block.step(x, state)
        return x + out, state


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> CausalConv:
    return CausalConv(inputs, outputs, (kernel,), (stride,), repeat=False)


def _upsampling(inputs: int, outputs: int, stride: int) -> CausalTransposedConv:
    return CausalTransposedConv(inputs, outputs, 2 * stride, stride)


SEANET = Layers(_conv, _upsampling, Residual, lambda channels: (), LAST_KERNEL)


def _transformer(dim: int, depth: int, heads: int, hidden: int, window: int) -> CausalSequential:
    check_integers(0, MAX_DEPTH, depth=depth)
    check_integers(1, MAX_SIZE, window=window)
    return CausalSequential(*(TransformerLayer(dim, heads, hidden, window) for _ in range(depth)))


@part("mimi-encoder")
class MimiEncoder(CausalEncoder):
    """Audio (B, C, T) to latents (B, dim, T / stride).

    Args:
        dim: D of the latents, and channels of the transformer.
        width: channels at the sample rate, doubled with each stride.
        strides: of the convolutions, in the order of the decoder; the stride is their product times 2.
        depth: layers of the transformer.
        heads: of its attention.
        hidden: channels between its linear maps.
        window: positions, two per latent, that its attention sees.
        channels: C.
    """

    times = TIMES

    def __init__(
        self,
        dim: int = 512,
        width: int = 64,
        strides: Sequence[int] = (8, 6, 5, 4),
        depth: int = 8,
        heads: int = 8,
        hidden: int = 2048,
        window: int = 250,
        channels: int = 1,
    ) -> None:
        super().__init__()
        self.stride = (FOLD * check_sizes(strides, dim=dim, width=width, channels=channels),)
        self.channels, self.dim, self.strides = channels, dim, tuple(strides)
        self.layers = CausalSequential(*encoder_layers(SEANET, channels, dim, width, strides))
        self.transformer = _transformer(dim, depth, heads, hidden, window)
        self.attended = depth * (window - 1)  # positions before
        self.downsample = CausalConv(dim, dim, (2 * FOLD,), (FOLD,), bias=False)

    @property
    def reach(self) -> tuple[Reach, ...]:
        """Latents before on which a latent depends; none after."""
        span = Span(0, 0).finer(FOLD).grown(FOLD, 0).grown(self.attended, 0).grown(LAST_KERNEL - 1, 0)
        for stride in self.strides:
            span = span.finer(stride).grown(stride, 0).grown(RESIDUAL_KERNEL - 1, 0)
        return (span.grown(FIRST_KERNEL - 1, 0).reach(self.stride[0]),)

    def advance(self, x: Tensor, run: Run) -> Tensor:
        """The next samples."""
        return run(self.downsample, run(self.transformer, run(self.layers, x)))


@part("mimi-decoder")
class MimiDecoder(CausalDecoder):
    """Latents (B, dim, F) to audio (B, C, F × stride).

    Args:
        dim, width, strides, depth, heads, hidden, window, channels: as of the encoder.
    """

    times = TIMES

    def __init__(
        self,
        dim: int = 512,
        width: int = 64,
        strides: Sequence[int] = (8, 6, 5, 4),
        depth: int = 8,
        heads: int = 8,
        hidden: int = 2048,
        window: int = 250,
        channels: int = 1,
    ) -> None:
        super().__init__()
        self.stride = (FOLD * check_sizes(strides, dim=dim, width=width, channels=channels),)
        self.channels, self.dim, self.strides = channels, dim, tuple(strides)
        self.upsample = CausalTransposedConv(dim, dim, 2 * FOLD, FOLD, groups=dim, bias=False)
        self.transformer = _transformer(dim, depth, heads, hidden, window)
        self.attended = depth * (window - 1)  # positions before
        self.layers = CausalSequential(*decoder_layers(SEANET, channels, dim, width, strides))

    @property
    def reach(self) -> tuple[Reach, ...]:
        """Latents before on which a block of samples depends; none after."""
        span = Span(0, self.stride[0] - 1).grown(LAST_KERNEL - 1, 0)
        for stride in reversed(self.strides):
            span = span.grown(RESIDUAL_KERNEL - 1, 0).coarser(stride).grown(1, 0)
        span = span.grown(FIRST_KERNEL - 1, 0).grown(self.attended, 0).coarser(FOLD).grown(1, 0)
        return (span.reach(),)

    def advance(self, z: Tensor, run: Run, quality_index: Tensor | int | None) -> Tensor:
        """The next latents."""
        return run(self.layers, run(self.transformer, run(self.upsample, z)))
