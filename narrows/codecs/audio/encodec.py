"""SEANet with an LSTM, the network of EnCodec (Défossez et al., arXiv 2210.13438).

    x ─ conv 7 ─ [residual ─ ELU ─ strided conv] per stride ─ LSTM ─ ELU ─ conv 7 ─▶ latents

At the ends of the signal, convolutions see its reflection, or zeros as audiocraft has them by default. Outside of
training, those at higher rates than the latents run on pieces of the signal, so that an hour needs little more memory
than its latents. Published sizes:

    name     rate     channels  width  strides     causal  group_norm  shortcut
    EnCodec  24 kHz   1         32     8 5 4 2     yes     no          yes
    EnCodec  48 kHz   2         32     8 5 4 2     no      yes         yes
    MusicGen 32 kHz   1         64     8 5 4 4     no      no          no
    AudioGen 16 kHz   1         64     8 5 4 2     no      no          no
"""

import sys
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from narrows.codecs.base import Decoder, Encoder, Reach
from narrows.codecs.causal import Span
from narrows.codecs.layers.pieces import overlapping
from narrows.codecs.layers.reflected import ReflectedConv, ResidualLSTM, TrimmedTransposedConv
from narrows.codecs.layers.seanet import (
    FIRST_KERNEL,
    RESIDUAL_KERNEL,
    Layers,
    check_sizes,
    decoder_layers,
    encoder_layers,
)
from narrows.parts import part

LAST_KERNEL = 7
LSTM_LAYERS = 2
PIECE = 1 << 18  # samples


class Residual(nn.Module):
    """(B, C, T) to the same: two convolutions, each after an ELU, plus x or a linear map of it.

    Args:
        conv: (inputs, outputs, kernel) to a convolution.
        shortcut: whether x is mapped.
        channels: C.
    """

    def __init__(self, conv: "partial[ReflectedConv]", shortcut: bool, channels: int) -> None:
        super().__init__()
        hidden = max(1, channels // 2)
        self.block = nn.Sequential(
            nn.ELU(), conv(channels, hidden, RESIDUAL_KERNEL), nn.ELU(), conv(hidden, channels, 1)
        )
        self.shortcut = conv(channels, channels, 1) if shortcut else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.shortcut(x) + self.block(x)
        return out


def _layers(causal: bool, group_norm: bool, shortcut: bool, zeros: bool) -> Layers:
    conv = partial(ReflectedConv, causal=causal, group_norm=group_norm, zeros=zeros)
    return Layers(
        conv,
        partial(TrimmedTransposedConv, causal=causal, group_norm=group_norm),
        partial(Residual, conv, shortcut),
        lambda channels: [ResidualLSTM(channels, LSTM_LAYERS)],
        LAST_KERNEL,
    )


@part("encodec-encoder")
class EnCodecEncoder(Encoder):
    """Audio (B, C, T) of any length to latents (B, dim, T / stride, rounded up).

    Args:
        dim: D of the latents.
        width: channels at the sample rate, doubled with each stride.
        strides: of the layers, in the order of the decoder; their product is the stride.
        causal: whether convolutions look back only. The reflection at the start still shows them later samples.
        group_norm: whether the output of each convolution is normalized over time and channels.
        shortcut: whether residual blocks map their input linearly before they add it.
        channels: C.
        zeros: whether there are zeros before and after signals in place of their reflections.
    """

    any_length = True

    def __init__(
        self,
        dim: int = 128,
        width: int = 32,
        strides: Sequence[int] = (8, 5, 4, 2),
        causal: bool = True,
        group_norm: bool = False,
        shortcut: bool = True,
        channels: int = 1,
        zeros: bool = False,
    ) -> None:
        super().__init__()
        self.stride = (check_sizes(strides, dim=dim, width=width, channels=channels),)
        self.channels, self.dim = channels, dim
        layers = _layers(bool(causal), bool(group_norm), bool(shortcut), bool(zeros))
        self.layers = nn.Sequential(*encoder_layers(layers, channels, dim, width, strides))
        span = Span(0, 0)
        for stride in strides:
            span = span.finer(stride).grown(stride).grown(RESIDUAL_KERNEL - 1)
        self.context = max(span.grown(FIRST_KERNEL - 1).reach(self.stride[0]))  # latents that those before the LSTM see
        self.pieces = not group_norm

    @property
    def reach(self) -> tuple[Reach, ...]:
        """Unbounded: the LSTM remembers all earlier latents."""
        return (None,)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) to (B, dim, T / stride, rounded up)."""
        self.check_signal(x)
        (stride,), lstm = self.stride, len(self.layers) - 3
        before, after = self.layers[:lstm], self.layers[lstm:]
        count, size = -(-x.shape[2] // stride), _piece(self, stride)
        if count <= size:
            h = before(x)
        else:
            computed = (
                before(x[..., source.start * stride : source.stop * stride])[..., kept]
                for source, kept in overlapping(count, size, self.context)
            )
            h = torch.cat(list(computed), 2)
        latents: Tensor = after(h)
        return latents


@part("encodec-decoder")
class EnCodecDecoder(Decoder):
    """Latents (B, dim, F) to audio (B, C, F × stride).

    Args:
        dim, width, strides, causal, group_norm, shortcut, channels, zeros: as of the encoder.
    """

    def __init__(
        self,
        dim: int = 128,
        width: int = 32,
        strides: Sequence[int] = (8, 5, 4, 2),
        causal: bool = True,
        group_norm: bool = False,
        shortcut: bool = True,
        channels: int = 1,
        zeros: bool = False,
    ) -> None:
        super().__init__()
        self.stride = (check_sizes(strides, dim=dim, width=width, channels=channels),)
        self.channels, self.dim = channels, dim
        layers = _layers(bool(causal), bool(group_norm), bool(shortcut), bool(zeros))
        self.layers = nn.Sequential(*decoder_layers(layers, channels, dim, width, strides))
        span = Span(0, self.stride[0] - 1).grown(LAST_KERNEL - 1)
        for stride in reversed(strides):
            span = span.grown(RESIDUAL_KERNEL - 1).coarser(stride).grown(1)
        self.context = max(span.reach())  # latents that the layers after the LSTM see
        self.pieces = not group_norm

    @property
    def reach(self) -> tuple[Reach, ...]:
        """Unbounded: the LSTM remembers all earlier latents."""
        return (None,)

    def forward(self, z: Tensor, quality_index: Tensor | int | None = None) -> Tensor:
        """(B, dim, F) to (B, C, F × stride)."""
        (stride,), h, after = self.stride, self.layers[:2](z), self.layers[2:]  # a convolution and the LSTM come first
        size = _piece(self, stride)
        if z.shape[2] <= size:
            x: Tensor = after(h)
            return x
        computed = (
            after(h[..., source])[..., kept.start * stride : kept.stop * stride]
            for source, kept in overlapping(z.shape[2], size, self.context)
        )
        return torch.cat(list(computed), 2)


def _piece(network: EnCodecEncoder | EnCodecDecoder, stride: int) -> int:
    """Latents of a piece; in training, and with norms over time, all of them."""
    return max(8 * network.context, PIECE // stride) if network.pieces and not network.training else sys.maxsize
