"""Encoders and decoders of latents: the networks of a Re-Bottleneck.

    (B, D, *grid) ──┬── linear layer ───────────────(+)──▶ (B, d, *grid)
                    └── in ── ConvNeXt × depth ── out ┘

Encoder and decoder have the same form. With random weights the second path is zero: the networks begin as their linear
layers, which `recipes/initialization/latents.py` sets to a PCA. The authors' code has convolutions of 1024 channels,
six ConvNeXt blocks with global response normalization, and no linear path (github.com/dbralios/elastic-time). A global
normalization would make every output depend on the whole signal; here the reach is finite, so that windows are exact.
"""

import torch
from torch import Tensor, nn

from narrows.codecs.base import Decoder, Encoder, Network, Reach, State
from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.codecs.layers.convnext import ConvNeXt
from narrows.errors import InputError
from narrows.parts import part


class _Network(nn.Module):
    """Latents (B, C, *grid) to latents (B, C', *grid); frames of video one by one."""

    def __init__(self, inputs: int, outputs: int, width: int, depth: int, axes: int) -> None:
        super().__init__()
        self.axes = axes
        self.linear = nn.Linear(inputs, outputs)
        self.enter = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(ConvNeXt(width, axes=min(axes, 2)) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, outputs)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    @property
    def reach(self) -> tuple[Reach, ...]:
        reach = ConvNeXt.reach * len(self.blocks)
        return (((0, 0),) if self.axes == 3 else ()) + ((reach, reach),) * min(self.axes, 2)

    def forward(self, x: Tensor) -> Tensor:
        if self.axes < 3:
            return self._grid(x)
        if self.training:
            return self._grid(x.transpose(1, 2).flatten(0, 1)).unflatten(0, (len(x), -1)).transpose(1, 2)
        # one frame at a time: all calls have one shape, so that every split of a clip gives the same bits
        frames = [self._grid(frame) for frame in x.unbind(2)]
        return frames[0].unsqueeze(2) if len(frames) == 1 else torch.stack(frames, 2)

    def _grid(self, x: Tensor) -> Tensor:
        vectors = x.movedim(1, -1)
        hidden = self.enter(vectors)
        for block in self.blocks:
            hidden = block(hidden)
        return (self.linear(vectors) + self.leave(self.norm(hidden))).movedim(-1, 1).contiguous()


class _Timeless(State):
    """The state of a network that sees each frame alone."""


class _OfLatents(Network):
    """What both networks share."""

    network: _Network

    def _set(self, channels: int, dim: int, width: int, depth: int, axes: int) -> None:
        check_integers(1, MAX_SIZE, channels=channels, dim=dim, width=width)
        check_integers(0, MAX_SIZE, depth=depth)
        check_integers(1, 3, axes=axes)
        self.channels, self.dim, self.stride = channels, dim, (1,) * axes
        ends = (channels, dim) if isinstance(self, Encoder) else (dim, channels)
        self.network = _Network(*ends, width, depth, axes)

    @property
    def reach(self) -> tuple[Reach, ...]:
        """ConvNeXt blocks see 3 positions to each side; nothing in the time of video."""
        return self.network.reach

    def start(self, batch: int) -> State:
        """The state of a stream of frames, which holds nothing. Raises InputError for another number of axes than 3."""
        if len(self.stride) != 3:
            raise InputError(f"expected latents of video for a stream, got a network of {len(self.stride)} axes")
        return _Timeless()


@part("latent-encoder")
class LatentEncoder(_OfLatents, Encoder):
    """Latents (B, channels, *grid) of a codec to latents (B, dim, *grid). It sees the frames of video one by one.

    Args:
        channels: channels of the codec's latents.
        dim: channels of the new latents.
        width: channels inside.
        depth: number of ConvNeXt blocks; 0: nothing is seen of other positions.
        axes: of the grid: 1 for audio, 2 for images, 3 for video.
    """

    def __init__(self, channels: int = 64, dim: int = 64, width: int = 256, depth: int = 4, axes: int = 1) -> None:
        super().__init__()
        self._set(channels, dim, width, depth, axes)

    def forward(self, x: Tensor) -> Tensor:
        """Latents (B, channels, *grid) to latents (B, dim, *grid)."""
        self.check_signal(x)
        out: Tensor = self.network(x)
        return out

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """See `Network.step`."""
        return self(x), state


@part("latent-decoder")
class LatentDecoder(_OfLatents, Decoder):
    """Latents (B, dim, *grid) to latents (B, channels, *grid) of a codec; the arguments are those of LatentEncoder."""

    def __init__(self, channels: int = 64, dim: int = 64, width: int = 256, depth: int = 4, axes: int = 1) -> None:
        super().__init__()
        self._set(channels, dim, width, depth, axes)

    def forward(self, z: Tensor, quality_index: Tensor | int | None = None) -> Tensor:
        """Latents (B, dim, *grid) to latents (B, channels, *grid); `quality_index` is ignored."""
        if z.ndim != 2 + len(self.stride) or z.shape[1] != self.dim or 0 in z.shape:
            grid = f"a grid of {len(self.stride)} axes"
            raise InputError(f"expected latents (B, {self.dim}, *grid) with {grid}, got {tuple(z.shape)}")
        out: Tensor = self.network(z)
        return out

    def step(self, x: Tensor, state: State, quality_index: Tensor | int | None = None) -> tuple[Tensor, State]:
        """See `Network.step`."""
        return self(x), state
