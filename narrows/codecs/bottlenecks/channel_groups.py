"""A mean-scale hyperprior whose latents are coded in groups of channels, each seeing the groups before it.

    y ─ × gain ─▶ hyper-encoder ─▶ z, rounded ─▶ hyper-decoder ─▶ h ───────────┐
          │                                                                    ▼
          └─▶ group 0, 1, ... ─ minus mean, rounded ─▶ symbols      group i: mean, scale from h and groups 0 .. i-1
                                                  └─ plus mean, × inverse gain ─▶ latents

Channel groups: Minnen and Singh, arXiv 2007.08739; uneven ones: He et al., arXiv 2203.10886; gains, which make one model
serve many qualities: Cui et al., arXiv 2003.02012.
"""

from collections.abc import Sequence
from math import log2

import torch
from torch import Tensor, nn

from narrows.codecs.bottlenecks.entropy_model import HIGHEST, LEVELS, LOWEST
from narrows.codecs.bottlenecks.hyperprior import Hyperprior
from narrows.codecs.checks import MOST, check_whole
from narrows.codecs.layers.exact import ExactConv2d, compressed
from narrows.parts import part

ANCHORS = 8  # qualities with gains of their own
BETWEEN = 8  # steps from one to the next; gains are interpolated


@part("channel-groups")
class ChannelGroups(Hyperprior):
    """Latents (B, sum(groups), h, w) at one of 57 qualities.

    groups: channels of y that are coded together, in this order. width: channels of the networks that choose tables;
    hyper_width: of the hyper-encoder; hyper_dim: of z.
    """

    qualities = (ANCHORS - 1) * BETWEEN + 1
    spread: Tensor

    def __init__(
        self,
        groups: Sequence[int] = (16, 16, 32, 64, 192),
        width: int = 128,
        hyper_width: int = 192,
        hyper_dim: int = 64,
    ) -> None:
        super().__init__(groups, hyper_dim, spread=2.0)
        check_whole(1, MOST, width=width, hyper_width=hyper_width)
        self.hyper_encoder = nn.Sequential(
            nn.Conv2d(self.dim, hyper_width, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(hyper_width, hyper_width, 5, stride=2, padding=2),
            nn.GELU(),
            nn.Conv2d(hyper_width, hyper_dim, 5, stride=2, padding=2),
        )
        self.hyper_decoder = nn.Sequential(
            ExactConv2d(hyper_dim, 4 * width, 3),
            nn.PixelShuffle(2),
            nn.ReLU(),
            ExactConv2d(width, 4 * width, 3),
            nn.PixelShuffle(2),
        )
        self.embedding = nn.Parameter(0.1 * torch.randn(ANCHORS, width))
        self.from_hyper = nn.ModuleList(ExactConv2d(width, width) for _ in groups)
        self.from_before = nn.ModuleList(ExactConv2d(sum(groups[:i]), width, 3) for i in range(1, len(groups)))
        self.hidden = nn.ModuleList(ExactConv2d(width, width) for _ in groups)
        self.out = nn.ModuleList(ExactConv2d(width, 2 * size) for size in groups)
        for out in self.out:
            nn.init.zeros_(out.weight)
            nn.init.zeros_(out.bias)
        self.root_gain = nn.Parameter(torch.ones(ANCHORS, self.dim))
        self.inverse = nn.Parameter(torch.ones(ANCHORS, self.dim))
        self.log_scale = nn.Parameter(torch.zeros(ANCHORS, self.dim))  # to base 2, of a symbol
        self.register_buffer("spread", torch.ones(self.dim))  # deviation of the latents

    def hyper(self, y: Tensor) -> Tensor:
        """Latents, in symbols, to z before rounding."""
        return super().hyper(compressed(y))

    def scaled(self, y: Tensor, quality: Tensor) -> Tensor:
        """Latents × gain."""
        return y * self._gain(quality).to(y.dtype)

    def restored(self, y: Tensor, quality: Tensor) -> Tensor:
        """Symbols with their means × inverse gain."""
        return y * _at(self.inverse, quality).to(y.dtype)

    def scale(self, parameter: Tensor) -> Tensor:
        """From its logarithm to base 2."""
        return torch.exp2(parameter.clamp(max=log2(HIGHEST) + 2))

    def level(self, parameter: Tensor) -> Tensor:
        """Indices of tables, which are evenly spaced in the logarithm."""
        lowest, steps = log2(LOWEST), (LEVELS - 1) / log2(HIGHEST / LOWEST)
        return ((parameter - lowest) * steps).round().clamp(0, LEVELS - 1).long()

    def context(self, z: Tensor, quality: Tensor) -> Tensor:
        """z and the quality to h (B, width, h, w)."""
        h = self.hyper_decoder(z)
        return nn.functional.relu(h + _at(self.embedding, quality).to(h.dtype))

    def predict(self, index: int, h: Tensor, before: Sequence[Tensor], quality: Tensor) -> tuple[Tensor, Tensor]:
        """Mean, as a multiple of the channel's deviation, and logarithm of the scale."""
        start = sum(self.groups[:index])
        part = slice(start, start + self.groups[index])
        inside = self.from_hyper[index](h)
        if index:
            inside = inside + self.from_before[index - 1](compressed(torch.cat(tuple(before), 1)))
        inside = nn.functional.relu(self.hidden[index](nn.functional.relu(inside)))
        mean, log = self.out[index](inside).chunk(2, 1)
        deviation = self.spread[part].view(1, -1, 1, 1) * self._gain(quality)[:, part].detach()
        return mean * deviation.to(mean.dtype), log + _at(self.log_scale, quality)[:, part].to(log.dtype)

    def _gain(self, quality: Tensor) -> Tensor:
        return _at(self.root_gain, quality).square()


def _at(table: Tensor, quality: Tensor) -> Tensor:
    """Rows of a table (8, C) at qualities (B,), interpolated, to (B, C, 1, 1) float64."""
    place = quality.double() / BETWEEN
    low = place.floor().clamp(0, ANCHORS - 2).long()
    share = (place - low).unsqueeze(1)
    rows = table.double()[low] * (1 - share) + table.double()[low + 1] * share
    return rows.unsqueeze(-1).unsqueeze(-1)
