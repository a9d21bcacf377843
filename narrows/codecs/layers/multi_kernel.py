"""Residual blocks of several kernels side by side, as in HiFi-GAN (Kong et al., arXiv 2010.05646, section 2.2).

x ──┬── 3 units of kernel 3, dilations 1, 3, 5 ───┐
    ├── 3 units of kernel 7 ──────────────────────┼── mean ──▶
    └── 3 units of kernel 11 ─────────────────────┘

They are causal if the convolutions are that they are made of; others run whole, by `forward`.
"""

from collections.abc import Callable

from torch import Tensor, nn

from narrows.codecs.base import State
from narrows.codecs.layers.causal import Causal, Run, States
from narrows.codecs.layers.snake import Snake

KERNELS, DILATIONS = (3, 7, 11), (1, 3, 5)
REACH = sum((max(KERNELS) - 1) * (dilation + 1) for dilation in DILATIONS)  # positions before; half of it if centred
SLOPE = 0.01  # of negative values
Convolution = Callable[[int, int, int], nn.Module]  # of channels, kernel and dilation
Activation = Callable[[int], nn.Module]  # of channels


class HalfSnake(nn.Module):
    """Snake on the first half of the channels of (B, C, T), rounded down, and a leaky ReLU on the others.

    Args:
        channels: C, at least 2.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.count = channels // 2
        self.snake = Snake(self.count)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) to the same shape."""
        out = nn.functional.leaky_relu(x, SLOPE)
        out[:, : self.count] = self.snake(x[:, : self.count])
        return out


class _Composed(Causal):
    def start(self, batch: int) -> States:
        """The states of all layers at the beginning."""
        return States()


class Unit(_Composed):
    """(B, C, T) plus activation, dilated convolution, activation and convolution of it."""

    def __init__(self, channels: int, kernel: int, dilation: int, conv: Convolution, activation: Activation) -> None:
        super().__init__()
        self.input_activation, self.skip_activation = activation(channels), activation(channels)
        self.input_conv, self.skip_conv = conv(channels, kernel, dilation), conv(channels, kernel, 1)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, States]:
        """The next times."""
        run = Run(state)
        h = run(self.input_conv, self.input_activation(x))
        return x + run(self.skip_conv, self.skip_activation(h)), run.state


class MultiKernel(_Composed):
    """(B, C, T) to the same shape: the mean of blocks of units.

    Args:
        channels: C.
        conv: makes the convolutions.
        activation: makes the activations.
    """

    def __init__(self, channels: int, conv: Convolution, activation: Activation) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.ModuleList(Unit(channels, kernel, dilation, conv, activation) for dilation in DILATIONS)
            for kernel in KERNELS
        )

    def step(self, x: Tensor, state: State) -> tuple[Tensor, States]:
        """The next times."""
        run, total = Run(state), None
        for block in self.blocks:
            h = x
            for unit in block:  # type: ignore[attr-defined]
                h = run(unit, h)
            total = h if total is None else total + h
        assert total is not None
        return total / len(KERNELS), run.state
