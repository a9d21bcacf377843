"""Encoders and decoders that are causal in time, and run step by step with a state.

Time is the first axis of the signal. A network is written once, as `advance`. Outside of training, `forward` and `step`
run at most `times` latent times after another, in memory that does not grow with the length of the signal. If `times`
is 1, every call has the same shapes, so that every split of a signal gives the same bits; else the results are the same
to rounding. In training, a signal runs as a whole; the result is the same to rounding.

Before the first sample, networks see what their layers pad with. A decoder makes `stride` samples for each latent.
"""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from narrows.codecs.base import Decoder, Encoder, State
from narrows.codecs.layers.causal import TIME, Run, States
from narrows.errors import InputError


class CausalEncoder(Encoder):
    """An encoder that is causal in time. A subclass implements `advance`; its reach in time is (n, 0).

    Attributes:
        times: latent times in one call outside of training: 1 for the same bits however a signal is split, more for
            networks of audio, which are then several times as fast.
    """

    times: ClassVar[int] = 1

    @abstractmethod
    def advance(self, x: Tensor, run: Run) -> Tensor:
        """The next times of a signal to their latents; layers with a state are called through `run`."""

    def forward(self, x: Tensor) -> Tensor:
        """Signal (B, C, T, *space), each axis a multiple of its stride, to latents (B, D, *grid)."""
        return self.step(x, self.start(len(x)))[0]

    def start(self, batch: int) -> States:
        """The state at the beginning of `batch` signals."""
        return States()

    def step(self, x: Tensor, state: State) -> tuple[Tensor, States]:
        """The next times (B, C, n, *space) of signals, n a multiple of the stride, to latents, and the next state."""
        self.check_signal(x)
        latents = []
        for piece in (x,) if self.training else x.split(self.times * self.stride[0], TIME):
            run = Run(state)
            latents.append(self.advance(piece, run))
            state = run.state
        assert isinstance(state, States)
        return joined(latents), state


class CausalDecoder(Decoder):
    """A decoder that is causal in time. A subclass implements `advance`; its reach in time is (n, 0).

    Attributes:
        times: as of the encoder.
    """

    times: ClassVar[int] = 1

    @abstractmethod
    def advance(self, z: Tensor, run: Run, quality_index: Tensor | int | None) -> Tensor:
        """The next latents of a signal to its samples; layers with a state are called through `run`."""

    def forward(self, z: Tensor, quality_index: Tensor | int | None = None) -> Tensor:
        """Latents (B, D, *grid) to signal (B, C, T, *space)."""
        return self.step(z, self.start(len(z)), quality_index)[0]

    def start(self, batch: int) -> States:
        """The state at the beginning of `batch` signals."""
        return States()

    def step(self, x: Tensor, state: State, quality_index: Tensor | int | None = None) -> tuple[Tensor, States]:
        """The next latents (B, D, n, *space) of signals to their samples, and the next state.

        Args:
            x: latents.
            state: from `start`, or from the step before.
            quality_index: as of `forward`.
        """
        if x.ndim != 2 + len(self.stride) or x.shape[1] != self.dim or 0 in x.shape:
            raise InputError(f"expected latents (B, {self.dim}, *grid) with no empty axis, got {tuple(x.shape)}")
        samples = []
        for piece in (x,) if self.training else x.split(self.times, TIME):
            run = Run(state)
            samples.append(self.advance(piece, run, quality_index))
            state = run.state
        assert isinstance(state, States)
        return joined(samples), state


def joined(pieces: list[Tensor]) -> Tensor:
    """Pieces of a signal, one after another."""
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces, TIME)


class Span:
    """A range of positions along an axis, from those of an output back to those of the input that it depends on.

    Args:
        first, last: of the outputs.
    """

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last = first, last

    def grown(self, before: int, after: int | None = None) -> "Span":
        """Through a layer that looks at positions before and after; by default after as before."""
        return Span(self.first - before, self.last + (before if after is None else after))

    def finer(self, factor: int) -> "Span":
        """Through a layer that makes one position of `factor`."""
        return Span(self.first * factor, self.last * factor + factor - 1)

    def coarser(self, factor: int) -> "Span":
        """Through a layer that makes `factor` positions of one."""
        return Span(self.first // factor, self.last // factor)

    def convolved(self, kernel: int, stride: int, padding: int) -> "Span":
        """Through a convolution, with `padding` positions before its input."""
        return Span(self.first * stride - padding, self.last * stride - padding + kernel - 1)

    def upsampled(self, kernel: int, stride: int, padding: int) -> "Span":
        """Through a transposed convolution, of whose output the first `padding` positions are cut."""
        return Span(-(-(self.first + padding - kernel + 1) // stride), (self.last + padding) // stride)

    def reach(self, stride: int = 1) -> tuple[int, int]:
        """Positions of `stride` each before and after position 0."""
        return max(0, -(self.first // stride)), max(0, self.last // stride)
