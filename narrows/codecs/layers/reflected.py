"""Convolutions of EnCodec: reflected at the ends of the signal, so that the last window is full (arXiv 2210.13438).

    kernel 7, stride 1         kernel 4, stride 2, 5 samples
    32│12345│43                21│12345│4                  look to both sides
    ....321│12345              32│12345│4                  look back only

Signals of any length are taken: one whose length is not a multiple of the stride is reflected at its end.
"""

from torch import Tensor, nn

from narrows.codecs.checks import MAX_SIZE, check_integers


def reflected(x: Tensor, before: int, after: int) -> Tensor:
    """x (B, C, T) with its reflection before and after; a shorter signal than its reflection is lengthened by zeros."""
    if not before and not after:
        return x
    missing = max(0, max(before, after) + 1 - x.shape[-1])
    x = nn.functional.pad(nn.functional.pad(x, (0, missing)), (before, after), "reflect")
    return x[..., : x.shape[-1] - missing]


class ReflectedConv(nn.Module):
    """(B, C, T) to (B, C', T / stride, rounded up).

    Args:
        inputs: C.
        outputs: C'.
        kernel: size, not below the stride.
        stride: samples per output.
        causal: whether it looks back only; the reflection before the signal then is of as many later samples.
        group_norm: whether the outputs are normalized over time and channels.
        zeros: whether there are zeros before and after the signal in place of its reflection.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        causal: bool = False,
        group_norm: bool = False,
        zeros: bool = False,
    ) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, inputs=inputs, outputs=outputs, stride=stride)
        check_integers(stride, MAX_SIZE, kernel=kernel)
        self.conv = nn.Conv1d(inputs, outputs, kernel, stride)
        self.norm = nn.GroupNorm(1, outputs) if group_norm else nn.Identity()
        self.stride, self.after = stride, 0 if causal else (kernel - stride) // 2
        self.before, self.zeros = kernel - stride - self.after, zeros

    def forward(self, x: Tensor) -> Tensor:
        margins = self.before, self.after + -x.shape[-1] % self.stride
        x = nn.functional.pad(x, margins) if self.zeros else reflected(x, *margins)
        out: Tensor = self.norm(self.conv(x))
        return out


class TrimmedTransposedConv(nn.Module):
    """(B, C, F) to (B, C', F × stride): a transposed convolution of a kernel of two strides, cut to this length.

    Args:
        inputs: C.
        outputs: C'.
        stride: outputs per position.
        causal: whether all is cut at the end, else half.
        group_norm: whether the outputs are normalized over time and channels, before they are cut.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, causal: bool = False, group_norm: bool = False) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, inputs=inputs, outputs=outputs, stride=stride)
        self.conv = nn.ConvTranspose1d(inputs, outputs, 2 * stride, stride)
        self.norm = nn.GroupNorm(1, outputs) if group_norm else nn.Identity()
        self.stride = stride
        self.before = 0 if causal else stride - stride // 2  # outputs that are cut

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(self.conv(x))
        return out[..., self.before : self.before + x.shape[-1] * self.stride]


class ResidualLSTM(nn.Module):
    """(B, C, T) to the same: x plus the output of LSTM layers that run over time.

    Args:
        channels: C.
        layers: number of layers.
    """

    def __init__(self, channels: int, layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(channels, channels, layers)

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(2, 0, 1)  # (T, B, C)
        out: Tensor = self.lstm(x)[0] + x
        return out.permute(1, 2, 0)
