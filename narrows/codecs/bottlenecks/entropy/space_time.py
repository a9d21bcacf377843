"""A space-time context model: each latent frame is coded conditioned on the one before it.

    latent frame t - 1 ─┬─ × persistence ───────────────────────────────────────────────▶ + mean
                        └─ 3 × 3 ─ 1 × 1 ─▶ + features of the groups before ─▶ ... ─▶ mean, scale

Within a latent frame, groups of channels and phases of the grid are coded as by the space-channel context model. Coding
conditioned on decoded latents of the frame before, in place of a difference to a predicted frame: DCVC (Li et al.,
arXiv 2109.15047); without motion vectors: Liu et al., arXiv 2008.09180.

The first latent frame of a call is coded on its own, so a chunk of a stream is decoded without those before it.
"""

from collections.abc import Generator, Sequence

import torch
from torch import Tensor, nn

from narrows.codecs.bottlenecks.entropy.space_channel import (
    Earlier,
    Place,
    Predictions,
    SpaceChannelContext,
    context_features,
)
from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.codecs.layers.exact import ExactConv2d, quantize_activations, quantize_weights
from narrows.codecs.layers.qualities import at_quality
from narrows.parts import part

MIN_NEW = 0.05  # smallest initial deviation of what is new in a latent, as a fraction of the deviation of the latent


@part("space-time-context")
class SpaceTimeContext(SpaceChannelContext):
    """Space-time context model of latents (B, sum(groups), T, h, w), h and w even, at quality indices 0 to 56.

    Args:
        groups: channels of each group, in coding order.
        phased: number of groups, from the first, whose four phases are coded one after another.
        widths: hidden channels of each group's predictors.
        memory: channels of the features of the latent frame before.
    """

    axes = 3

    def __init__(
        self,
        groups: Sequence[int] = (8, 8, 16, 32),
        phased: int = 3,
        widths: Sequence[int] = (64, 64, 80, 96),
        memory: int = 96,
    ) -> None:
        super().__init__(groups, phased, widths)
        check_integers(1, MAX_SIZE, memory=memory)
        self.memory = ExactConv2d(2 * self.dim, memory, 3)
        self.recall = nn.ModuleList(ExactConv2d(memory, width) for width in widths)
        self.persistence = nn.Parameter(torch.zeros(self.dim))  # of each channel from one latent frame to the next
        self.new = nn.Parameter(torch.zeros(self.dim))  # log2 of the scale, in that of a latent frame on its own

    @torch.no_grad()
    def initialize_persistence(self, correlation: Tensor) -> None:
        """Start from the correlation (K,) of each channel with the latent frame before it."""
        self.persistence.copy_(correlation)
        self.new.copy_((1 - correlation.square()).clamp(min=MIN_NEW**2).sqrt().log2())

    def targets(self, y: Tensor, quality_index: Tensor) -> list[Tensor]:
        """The phases of each group of each latent frame of y, times the gain."""
        return self.unfold(y.float() * _over_time(at_quality(self.root_gain, quality_index).square().float()))

    def fold(self, parts: Sequence[Tensor]) -> Tensor:
        """Interleave phases, concatenate groups, and stack latent frames."""
        count = sum(map(len, self._phases))
        frames = [super(SpaceTimeContext, self).fold(parts[i : i + count]) for i in range(0, len(parts), count)]
        return torch.stack(frames, 2)

    def unfold(self, x: Tensor) -> list[Tensor]:
        """The inverse of `fold`."""
        return [part for frame in x.unbind(2) for part in super(SpaceTimeContext, self).unfold(frame)]

    def latents(self, values: Sequence[Tensor], quality_index: Tensor) -> Tensor:
        """Values of all stages, folded, times the inverse gain."""
        folded = self.fold(values)
        return folded * _over_time(at_quality(self.inverse, quality_index).to(folded.dtype))

    def _predictions(self, quality_index: Tensor, shape: Sequence[int], dtype: torch.dtype) -> Predictions:
        """Predict latent frame after latent frame, each with the one before; see SpaceChannelContext."""
        batch, dim, count, height, width = shape
        frames = list[Tensor]()
        for t in range(count):
            earlier = self._earlier(frames[-1]) if frames else None
            frames.append(
                (yield from _placed(self._predict(quality_index, (batch, dim, height, width), dtype, earlier), t))
            )
        return torch.stack(frames, 2) * _over_time(at_quality(self.inverse, quality_index).to(dtype))

    def _earlier(self, values: Tensor) -> Earlier:
        """What a latent frame (B, K, h, w), in rounding steps, says of the next one; exactly in float64."""
        memory = nn.functional.relu(self.memory(context_features([values])))
        if values.dtype == torch.float64:
            mean = quantize_activations(values) * quantize_weights(self.persistence).view(-1, 1, 1)
        else:
            mean = values * self.persistence.view(-1, 1, 1)
        return Earlier([recall(memory) for recall in self.recall], mean, self.new.to(values.dtype).view(1, -1, 1, 1))


def _placed(predictions: Predictions, t: int) -> Generator[tuple[Tensor, Tensor, Place], Tensor, Tensor]:
    """Predictions of a latent frame, whose places name the frame."""
    mean, log_scale, place = next(predictions)
    try:
        while True:
            mean, log_scale, place = predictions.send((yield mean, log_scale, (*place[:2], t, *place[2:])))
    except StopIteration as end:
        values: Tensor = end.value
    return values


def _over_time(x: Tensor) -> Tensor:
    """(B, K, 1, 1) to (B, K, 1, 1, 1)."""
    return x.unsqueeze(2)
