"""Residual units of dilated convolutions, between which audio codecs change the rate (DAC, Oobleck, SNAC, BigCodec)."""

from collections.abc import Callable, Sequence
from math import prod

import torch
from torch import Tensor, nn

from narrows.codecs.causal import Span
from narrows.codecs.layers.snake import Snake

DILATIONS = (1, 3, 9)
KERNEL = 7
REACH = sum(KERNEL // 2 * dilation for dilation in DILATIONS)  # positions to each side, of three units
Activation = Callable[[int], nn.Module]  # of a number of channels


class ResidualUnit(nn.Module):
    """(B, C, T) plus activation, dilated convolution, activation and pointwise convolution of it.

    Args:
        channels: C.
        dilation: of the first convolution, which has a kernel of 7.
        groups: of its channels.
        activation: makes both activations.
    """

    def __init__(self, channels: int, dilation: int, groups: int = 1, activation: Activation = Snake) -> None:
        super().__init__()
        padding = KERNEL // 2 * dilation
        self.block = nn.Sequential(
            activation(channels),
            nn.Conv1d(channels, channels, KERNEL, padding=padding, dilation=dilation, groups=groups),
            activation(channels),
            nn.Conv1d(channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) to the same shape."""
        out: Tensor = self.block(x)
        return out + x if torch.is_grad_enabled() else out.add_(x)


def residual_units(channels: int, groups: int = 1, activation: Activation = Snake) -> list[nn.Module]:
    """The three units of a stage, of dilations 1, 3 and 9."""
    return [ResidualUnit(channels, dilation, groups, activation) for dilation in DILATIONS]


class EncoderStage(nn.Module):
    """(B, before, T) to (B, after, T / stride): three residual units, an activation and a convolution of kernel 2 s."""

    def __init__(self, before: int, after: int, stride: int, groups: int = 1, activation: Activation = Snake) -> None:
        super().__init__()
        self.block = nn.Sequential(
            *residual_units(before, groups, activation),
            activation(before),
            nn.Conv1d(before, after, 2 * stride, stride, padding=-(-stride // 2)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, before, T) to (B, after, T / stride)."""
        out: Tensor = self.block(x)
        return out


class DecoderStage(nn.Module):
    """(B, before, F) to (B, after, F × stride): an activation, a transposed convolution and three residual units.

    Args:
        before, after: channels.
        stride: s.
        activation: makes all activations.
        whole: whether an odd stride gives all samples. Otherwise the last one is missing.
    """

    def __init__(
        self, before: int, after: int, stride: int, activation: Activation = Snake, whole: bool = True
    ) -> None:
        super().__init__()
        self.block = nn.Sequential(
            activation(before),
            upsampling(before, after, stride, whole),
            *residual_units(after, activation=activation),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, before, F) to (B, after, F × stride)."""
        out: Tensor = self.block(x)
        return out


def upsampling(before: int, after: int, stride: int, whole: bool = True) -> nn.ConvTranspose1d:
    """A transposed convolution of kernel 2 s; see DecoderStage."""
    missing = stride % 2 if whole else 0
    return nn.ConvTranspose1d(before, after, 2 * stride, stride, padding=-(-stride // 2), output_padding=missing)


def encoder_reach(strides: Sequence[int], last: int) -> tuple[int, int]:
    """Positions before and after that an encoder sees: a convolution of 7, stages of three units and a downsampling.

    Args:
        strides: of the stages; a stage ends with a convolution of kernel 2 s, padded with ceil(s / 2).
        last: positions to each side that the layers after the stages see.
    """
    return encoder_span(strides, Span(0, 0).grown(last)).reach(prod(strides))


def encoder_span(strides: Sequence[int], span: Span) -> Span:
    """The samples that a range of positions after the stages of an encoder depends on; see `encoder_reach`."""
    for step in reversed(strides):
        span = span.convolved(2 * step, step, -(-step // 2)).grown(REACH)
    return span.grown(KERNEL // 2)


def decoder_reach(strides: Sequence[int], first: int) -> tuple[int, int]:
    """Positions before and after that a decoder sees: stages of an upsampling and three units, a convolution of 7.

    Args:
        strides: of the stages; a stage begins with a transposed convolution of kernel 2 s, cut by ceil(s / 2).
        first: positions to each side that the layers before the stages see.
    """
    return decoder_span(strides, Span(0, prod(strides) - 1)).grown(first).reach()


def decoder_span(strides: Sequence[int], span: Span) -> Span:
    """The positions before the stages of a decoder that a range of samples depends on; see `decoder_reach`."""
    span = span.grown(KERNEL // 2)
    for step in reversed(strides):
        span = span.grown(REACH).upsampled(2 * step, step, -(-step // 2))
    return span
