"""Causal layers: an output depends on inputs up to its own time only. They run on a whole signal or step by step.

    state = layer.start(batch)
    y0, state = layer.step(x0, state)      x0 │ x1   │ x2       the state keeps what later outputs still need
    y1, state = layer.step(x1, state)      y0 │ y1   │ y2       y0, y1, y2 together are `layer(x)`

Time is axis 2 of all tensors: (B, C, T) of audio, (B, C, T, H, W) of video. A step never changes the state that it is
given, and computes nothing twice. A layer is written once, as `step`; `forward` is one step from the start.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from narrows.codecs.base import State
from narrows.codecs.checks import MAX_SIZE, check_integer_lists, check_integers
from narrows.errors import InputError

TIME = 2  # the axis


@dataclass(frozen=True)
class Past(State):
    """What a layer keeps of its earlier input: (B, C, n, ...), or None before the first step."""

    kept: Tensor | None = None


@dataclass(frozen=True)
class States(State):
    """The states of the layers of a network, in the order in which it runs them; none before the first step."""

    parts: tuple[State, ...] = ()


class Causal(nn.Module, ABC):
    """Base class of causal layers."""

    def start(self, batch: int) -> State:
        """The state at the beginning of `batch` signals."""
        return Past()

    @abstractmethod
    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """The next part of the signals to the output that it completes, and the next state."""

    def forward(self, x: Tensor) -> Tensor:
        """The whole signals at once."""
        return self.step(x, self.start(len(x)))[0]


class Run:
    """One step of a network: calls its layers in turn, gives each its own state and collects the next states.

    The layers must be called in the same order in every step. Layers that are not causal see each time separately, and
    have no state.
    """

    def __init__(self, state: State) -> None:
        if not isinstance(state, States):
            raise InputError(f"expected the state that start or a step has returned, got {type(state).__name__}")
        self._given = state.parts
        self._next: list[State] = []

    def __call__(self, layer: nn.Module, x: Tensor) -> Tensor:
        """Step one layer."""
        if not isinstance(layer, Causal):
            out: Tensor = layer(x)
            return out
        place = len(self._next)
        out, state = layer.step(x, self._given[place] if self._given else layer.start(len(x)))
        self._next.append(state)
        return out

    @property
    def state(self) -> States:
        """The next states of the layers so far."""
        return States(tuple(self._next))


class CausalSequential(nn.Sequential, Causal):
    """Layers one after another; those that are not causal see each time separately."""

    def start(self, batch: int) -> States:
        """The states of all layers at the beginning."""
        return States()

    def step(self, x: Tensor, state: State) -> tuple[Tensor, States]:
        """Step each layer."""
        run = Run(state)
        for layer in self:
            x = run(layer, x)
        return x, run.state

    forward = Causal.forward  # not that of nn.Sequential


class CausalConv(Causal):
    """A convolution (B, C, T, *space) to (B, C', T / stride, *space / stride) that looks back in time only.

    Output t depends on the last inputs up to t × stride + stride - 1. Before the start of the signal, time is padded
    with its first element (as in CogVideoX and WF-VAE), or with zeros (as in Wan).

    On video, outside of training, each output frame is one 2-D convolution over the channels of the frames that it
    depends on. This is as fast as the 3-D convolution on a CPU (96 against 112 billion operations a second for 9 frames
    of 128 channels of 32 × 32, 103 against 81 for 4 frames of 64 channels of 64 × 64, 98 against 65 for a single frame)
    and gives the same bits for every split of a signal: all frames have the same shape. 3-D convolutions of 4 and of 1
    frames differ by up to 2e-6, in channels-last order by up to 7e-6.

    Args:
        inputs: C.
        outputs: C'.
        kernel: sizes in time and in space; of odd sizes in space unless `margins` are given.
        stride: in time and in space; by default 1. A step takes a multiple of the stride in time.
        dilation: in time.
        groups: of channels.
        margins: zeros before and after each axis of space; by default half the kernel.
        repeat: whether the first element pads time, else zeros.
        bias: whether there is one.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: Sequence[int],
        stride: Sequence[int] | None = None,
        *,
        dilation: int = 1,
        groups: int = 1,
        margins: tuple[int, int] | None = None,
        repeat: bool = True,
        bias: bool = True,
    ) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, inputs=inputs, outputs=outputs, dilation=dilation, groups=groups)
        check_integer_lists(1, MAX_SIZE, kernel=kernel)
        self.stride = tuple(stride or [1] * len(kernel))
        make = {1: nn.Conv1d, 3: nn.Conv3d}.get(len(kernel))
        if make is None or len(self.stride) != len(kernel):
            raise InputError(f"expected a kernel and a stride of 1 or 3 axes, got {kernel!r} and {stride!r}")
        self.keep = (kernel[0] - 1) * dilation + 1 - self.stride[0]
        if self.keep < 0:
            raise InputError(
                f"expected a kernel that is not shorter than its stride in time, got {kernel!r}, {stride!r}"
            )
        made = make(inputs, outputs, tuple(kernel), groups=groups, bias=bias)  # type: ignore[arg-type]
        self.weight, self.bias = made.weight, made.bias
        self.dilation, self.groups, self.repeat = dilation, groups, repeat
        self.margins = [margins or (size // 2, size // 2) for size in kernel[1:]]

    def step(self, x: Tensor, state: State) -> tuple[Tensor, Past]:
        """The next n times (B, C, n, *space), n a multiple of the stride in time."""
        if not isinstance(state, Past):
            raise InputError(f"expected the state of a convolution, got {type(state).__name__}")
        if x.shape[TIME] % self.stride[0]:
            raise InputError(f"expected a multiple of {self.stride[0]} times, got {x.shape[TIME]}")
        if self.keep == 0:
            return self._convolved(x), state
        past = self._before(x) if state.kept is None else state.kept
        if past.shape[:TIME] != x.shape[:TIME] or past.shape[3:] != x.shape[3:]:
            raise InputError(f"expected the batch and size of earlier steps {tuple(past.shape)}, got {tuple(x.shape)}")
        x = torch.cat((past, x), TIME)
        kept = x[:, :, x.shape[TIME] - self.keep :]
        return self._convolved(x), Past(kept if self.training else kept.clone())  # the rest of x need not stay

    def _before(self, x: Tensor) -> Tensor:
        shape = (*x.shape[:TIME], self.keep, *x.shape[3:])
        return x[:, :, :1].expand(shape) if self.repeat else x.new_zeros(shape)

    def _convolved(self, x: Tensor) -> Tensor:
        """Without padding in time."""
        if self.weight.ndim == 3:
            return nn.functional.conv1d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)
        x, margins = self._padded(x)
        if self.training:
            return self._whole(x, margins)
        size = self.weight.shape[2]
        span = (size - 1) * self.dilation + 1
        starts = range(0, x.shape[TIME] - span + 1, self.stride[0])
        frames = [self._frame(x[:, :, i : i + span : self.dilation], margins) for i in starts]
        return frames[0].unsqueeze(TIME) if len(frames) == 1 else torch.stack(frames, TIME)

    def _frame(self, x: Tensor, margins: tuple[int, ...]) -> Tensor:
        """One output frame of the frames (B, C, k, H, W) that it depends on."""
        if self._along_time:
            return self._weighted(x)
        weight = self.weight.flatten(1, 2)  # (C', C / groups × k, kh, kw)
        return nn.functional.conv2d(x.flatten(1, 2), weight, self.bias, self.stride[1:], margins, 1, self.groups)

    def _whole(self, x: Tensor, margins: tuple[int, ...]) -> Tensor:
        """A whole signal, in training: as frames if no output depends on several, which is 3 times as fast on a CPU."""
        if self.weight.shape[2] == self.stride[0] == 1:
            frames = x.transpose(1, TIME).flatten(0, 1).contiguous(memory_format=torch.channels_last)
            weight, stride = self.weight[:, :, 0], self.stride[1:]
            out = nn.functional.conv2d(frames, weight, self.bias, stride, margins, 1, self.groups)
            return out.unflatten(0, (len(x), -1)).transpose(1, TIME)
        if self._along_time and self.stride[0] == self.dilation == 1:
            count = x.shape[TIME] - self.keep
            weights = self.weight.flatten(1)[..., None, None, None]  # (C, k, 1, 1, 1)
            parts = [x[:, :, k : k + count] * weights[:, k] for k in range(self.weight.shape[2])]
            out = sum(parts[1:], parts[0])
            return out if self.bias is None else out + self.bias[:, None, None, None]
        dilation = (self.dilation, 1, 1)
        return nn.functional.conv3d(x, self.weight, self.bias, self.stride, (0, *margins), dilation, self.groups)

    @property
    def _along_time(self) -> bool:
        """Whether this is a convolution of each channel alone, along time alone."""
        shape = self.weight.shape
        return shape[0] == self.groups and shape[1] == 1 and shape[2] == self.weight[0].numel()

    def _weighted(self, x: Tensor) -> Tensor:
        """The sum of frames times a weight for each channel: a depthwise convolution along time alone."""
        weights = self.weight.flatten(1)[..., None, None]  # (C, k, 1, 1)
        out = x[:, :, 0] * weights[:, 0]
        for k in range(1, x.shape[TIME]):
            out = torch.addcmul(out, x[:, :, k], weights[:, k])
        return out if self.bias is None else out + self.bias[:, None, None]

    def _padded(self, x: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        """x padded where margins before and after differ, and the margins that are left to the convolution."""
        if all(before == after for before, after in self.margins):
            return x, tuple(before for before, _ in self.margins)
        pad = [margin for margins in reversed(self.margins) for margin in margins]
        return nn.functional.pad(x, pad), (0,) * len(self.margins)


class ChannelNorm(nn.LayerNorm):
    """Normalization over the channels of each position of (B, C, *positions), so that the reach stays what it is.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, 1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *positions) to the same shape."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)
