"""Haar patches and convolutions factorised into space and time: an encoder and decoder of video for fast coding.

                    ┌─ linear layer ──────────────────────────────────────────────────────┐
    (B, C, T, H, W) ┴ 3-D Haar × patch ─ 1 × 1 ─ blocks ─ down ─ ... ─ blocks ─ attention ─┴─▶ (B, D, t, h, w)

                    ┌─ linear layer ─────────────────────────────────────────────┐
    (B, D, t, h, w) ┴ 1 × 1, + quality ─ attention ─ blocks ─ up ─ ... ─ blocks ─┴ inverse Haar ─▶ (B, C, T, H, W)

Patches and factorised convolutions are those of the Cosmos tokenizer (arXiv 2501.03575, section 3), here with norms of
each position and blocks whose convolutions are depthwise by default (ConvNeXt, arXiv 2201.03545). Temporal attention
looks back a bounded number of latents, so that the state of a stream is bounded.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from narrows.codecs.base import Reach, State
from narrows.codecs.causal import CausalDecoder, CausalEncoder, Span
from narrows.codecs.checks import MAX_SIZE, check_integer_lists, check_integers
from narrows.codecs.layers.causal import Causal, CausalConv, CausalSequential, ChannelNorm, Run, States
from narrows.codecs.layers.qualities import ANCHORS, at_quality
from narrows.codecs.layers.wavelets import haar, inverse_haar
from narrows.errors import InputError
from narrows.parts import part

EXPANSION = 3  # hidden channels of a two-layer network, in units of its width
HEAD = 32  # channels of a head of attention, at most


class Separable(Causal):
    """(B, C, T, H, W) to the same: depthwise in space, depthwise in time, then a two-layer network at each position."""

    before, side = 2, 2  # positions that it sees

    def __init__(self, width: int) -> None:
        super().__init__()
        self.space = CausalConv(width, width, (1, 5, 5), groups=width)
        self.time = CausalConv(width, width, (3, 1, 1), groups=width)
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, EXPANSION * width)
        self.narrow = nn.Linear(EXPANSION * width, width)
        with torch.no_grad():
            self.narrow.weight.mul_(0.1)

    def start(self, batch: int) -> States:
        """No layer has run."""
        return States()

    def step(self, x: Tensor, state: State) -> tuple[Tensor, States]:
        """The next times."""
        run = Run(state)
        h = run(self.time, run(self.space, x)).movedim(1, -1)
        h = self.narrow(nn.functional.gelu(self.widen(self.norm(h))))
        return x + h.movedim(-1, 1), run.state


class Factorised(Causal):
    """(B, C, T, H, W) to the same: x + twice a norm, SiLU, a convolution in space and one in time."""

    before, side = 4, 2

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = CausalSequential()
        for _ in range(2):
            convs = CausalConv(width, width, (1, 3, 3)), CausalConv(width, width, (3, 1, 1))
            self.layers.extend((ChannelNorm(width), nn.SiLU(), *convs))

    def start(self, batch: int) -> States:
        """No layer has run."""
        return States()

    def step(self, x: Tensor, state: State) -> tuple[Tensor, States]:
        """The next times."""
        h, after = self.layers.step(x, state)
        return x + h, after


@dataclass(frozen=True)
class Seen(State):
    """Keys and values (B, heads, n, H, W, C / heads) of the last n times."""

    keys: Tensor | None = None
    values: Tensor | None = None


class TimeAttention(Causal):
    """(B, C, T, H, W) to the same: x + attention of each position to itself and to a number of earlier times.

    Args:
        width: C.
        before: how many times each position looks back.
    """

    def __init__(self, width: int, before: int) -> None:
        super().__init__()
        self.before, self.heads = before, max(1, width // HEAD)
        if width % self.heads:
            raise InputError(f"expected a width that is a multiple of {HEAD} for attention, got {width}")
        self.norm = ChannelNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.distance = nn.Parameter(torch.zeros(self.heads, before + 1))  # added to scores, by how far back

    def start(self, batch: int) -> Seen:
        """Nothing was seen."""
        return Seen()

    def step(self, x: Tensor, state: State) -> tuple[Tensor, Seen]:
        """The next times."""
        if not isinstance(state, Seen):
            raise InputError(f"expected the state of attention, got {type(state).__name__}")
        h = self.norm(x).movedim(1, -1)  # (B, T, H, W, C)
        query, keys, values = (
            layer(h).unflatten(-1, (self.heads, -1)).movedim(-2, 1) for layer in (self.query, self.key, self.value)
        )
        if state.keys is not None and state.values is not None:
            keys, values = torch.cat((state.keys, keys), 2), torch.cat((state.values, values), 2)
        count = keys.shape[2] - query.shape[2]
        out = [self._attended(query[:, :, t], keys, values, count + t) for t in range(query.shape[2])]
        h = self.out(torch.stack(out, 2).movedim(1, -2).flatten(-2))
        kept = max(0, keys.shape[2] - self.before)
        return x + h.movedim(-1, 1), Seen(keys[:, :, kept:], values[:, :, kept:])

    def _attended(self, query: Tensor, keys: Tensor, values: Tensor, last: int) -> Tensor:
        """One time (B, heads, H, W, c), which sees keys and values up to `last`."""
        first = max(0, last - self.before)
        keys, values = keys[:, :, first : last + 1], values[:, :, first : last + 1]
        scores = (query.unsqueeze(2) * keys).sum(-1) / math.sqrt(query.shape[-1])  # (B, heads, n, H, W)
        scores = scores + self.distance[:, : last + 1 - first].flip(1)[..., None, None]
        return (scores.softmax(2).unsqueeze(-1) * values).sum(2)


def _stage(width: int, depth: int, depthwise: bool) -> CausalSequential:
    return CausalSequential(*(Separable(width) if depthwise else Factorised(width) for _ in range(depth)))


def _strides(patch: int, widths: Sequence[int], depths: Sequence[int]) -> tuple[int, ...]:
    """Strides of a network. Raises InputError for arguments out of range."""
    check_integers(1, 4, patch=patch)
    check_integer_lists(1, MAX_SIZE, widths=widths)
    check_integer_lists(0, 64, depths=depths)
    check_integers(1, 6, stages=len(widths))
    if len(widths) != len(depths):
        raise InputError(f"expected as many depths as widths, got {depths!r} and {widths!r}")
    side = 2 ** (patch + len(widths) - 1)
    return (2**patch, side, side)


@part("factorised-encoder")
class FactorisedEncoder(CausalEncoder):
    """Video (B, C, T, H, W) in [-1, 1], axes multiples of the stride, to latents (B, dim, *grid).

    The stride is 2^patch in time, and twice that in space for each stage after the first: (4, 8, 8) by default.

    Args:
        dim: D of the latents.
        widths: channels of each stage, from the patches on.
        depths: blocks of each stage.
        patch: levels of the Haar transform.
        attention: latents that temporal attention at the last stage looks back; 0 for none.
        depthwise: convolutions of each channel alone, with a network at each position; else of all channels.
        channels: C.
    """

    def __init__(
        self,
        dim: int = 64,
        widths: Sequence[int] = (48, 128),
        depths: Sequence[int] = (1, 4),
        patch: int = 2,
        attention: int = 0,
        depthwise: bool = True,
        channels: int = 3,
    ) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, dim=dim, channels=channels)
        check_integers(0, 1024, attention=attention)
        self.channels, self.dim, self.stride = channels, dim, _strides(patch, widths, depths)
        self.patch, self.depths, self.attention = patch, tuple(depths), attention
        inputs, side = channels * 8**patch, 2 ** (len(widths) - 1)
        self.linear = CausalConv(inputs, dim, (1, side, side), (1, side, side), margins=(0, 0))
        self.embed = CausalConv(inputs, widths[0], (1, 1, 1))
        self.stages = nn.ModuleList(_stage(w, d, depthwise) for w, d in zip(widths, depths, strict=True))
        self.downs = nn.ModuleList(CausalConv(a, b, (1, 2, 2), (1, 2, 2), margins=(0, 0)) for a, b in pairwise(widths))
        self.attend = TimeAttention(widths[-1], attention) if attention else nn.Identity()
        self.norm, self.out = ChannelNorm(widths[-1]), CausalConv(widths[-1], dim, (1, 1, 1))
        self.block = Separable if depthwise else Factorised

    @property
    def reach(self) -> tuple[Reach, ...]:
        """Latents before and after on which a latent depends, for each axis; no later frames."""
        span = Span(0, 0)
        for number, depth in enumerate(reversed(self.depths)):
            span = (span.finer(2) if number else span).grown(depth * self.block.side)
        side = span.finer(2**self.patch).reach(self.stride[1])
        return (sum(self.depths) * self.block.before + self.attention, 0), side, side

    def advance(self, x: Tensor, run: Run) -> Tensor:
        """The next frames."""
        for _ in range(self.patch):
            x = haar(x, 3)
        h = run(self.embed, x)
        for number, stage in enumerate(self.stages):
            h = run(stage, run(self.downs[number - 1], h) if number else h)
        return run(self.linear, x) + run(self.out, self.norm(run(self.attend, h)))


@part("factorised-decoder")
class FactorisedDecoder(CausalDecoder):
    """Latents (B, dim, *grid) at a quality index, 0 to 56, to video (B, C, T, H, W), roughly in [-1, 1].

    Args:
        dim, widths, depths, patch, attention, depthwise, channels: as of the encoder; the last stage comes first here.
    """

    conditioned = True

    def __init__(
        self,
        dim: int = 64,
        widths: Sequence[int] = (48, 128),
        depths: Sequence[int] = (1, 4),
        patch: int = 2,
        attention: int = 0,
        depthwise: bool = True,
        channels: int = 3,
    ) -> None:
        super().__init__()
        check_integers(1, MAX_SIZE, dim=dim, channels=channels)
        check_integers(0, 1024, attention=attention)
        self.channels, self.dim, self.stride = channels, dim, _strides(patch, widths, depths)
        self.patch, self.depths, self.attention = patch, tuple(depths), attention
        outputs, side = channels * 8**patch, 2 ** (len(widths) - 1)
        self.linear = CausalConv(dim, outputs * side**2, (1, 1, 1))
        self.embed = CausalConv(dim, widths[-1], (1, 1, 1))
        self.quality = nn.Parameter(torch.empty(ANCHORS, widths[-1]).normal_(std=0.1))
        self.attend = TimeAttention(widths[-1], attention) if attention else nn.Identity()
        self.stages = nn.ModuleList(_stage(w, d, depthwise) for w, d in zip(widths, depths, strict=True))
        self.ups = nn.ModuleList(CausalConv(b, 4 * a, (1, 1, 1)) for a, b in pairwise(widths))
        self.norm, self.out = ChannelNorm(widths[0]), CausalConv(widths[0], outputs, (1, 1, 1))
        self.block = Separable if depthwise else Factorised

    @property
    def reach(self) -> tuple[Reach, ...]:
        """Latents before and after on which a block of samples depends, for each axis; no later latents."""
        span = Span(0, self.stride[1] - 1).coarser(2**self.patch)
        for number, depth in enumerate(self.depths):
            span = (span.coarser(2) if number else span).grown(depth * self.block.side)
        return (sum(self.depths) * self.block.before + self.attention, 0), span.reach(), span.reach()

    def advance(self, z: Tensor, run: Run, quality_index: Tensor | int | None) -> Tensor:
        """The next latents."""
        if not isinstance(quality_index, Tensor):
            quality_index = torch.full((len(z),), quality_index or 0, device=z.device)
        h = run(self.embed, z) + at_quality(self.quality, quality_index).to(z.dtype).unsqueeze(-1)
        h = run(self.attend, h)
        for number in reversed(range(len(self.stages))):
            h = run(self.stages[number], h)
            h = shuffled(run(self.ups[number - 1], h), 2) if number else h
        linear = shuffled(run(self.linear, z), 2 ** (len(self.stages) - 1))
        x = linear + run(self.out, self.norm(h))
        for _ in range(self.patch):
            x = inverse_haar(x, 3)
        return x


def shuffled(x: Tensor, factor: int) -> Tensor:
    """Channels to space: (B, C factor², T, H, W) to (B, C, T, factor H, factor W)."""
    if factor == 1:
        return x
    parts = x.unflatten(1, (-1, factor, factor)).permute(0, 1, 4, 5, 2, 6, 3)  # (B, C, T, H, factor, W, factor)
    return parts.flatten(5, 6).flatten(3, 4)
