"""Encoder-side search for better codes of an image; the decoder is unchanged (bottlenecks/entropy/refinement.py).

    rows of positions   ┌──────────────┐
                        │ final        │ ▲ reach of the decoder: pixels here depend on the band and count
    band                ├──────────────┤
                        │ refined      │
                        ├──────────────┤
                        │ as encoded   │ ▼ the same
                        └──────────────┘

A band has bits of its own, and the pixels that depend on it are decoded with the rows around it held fixed, so that an
improvement of a band is one of the image. An image of one band (up to 1024 rows of pixels) is optimised whole.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from narrows.codecs.bottlenecks.entropy.base import EntropyModel
from narrows.codecs.bottlenecks.entropy.refinement import refine_codes
from narrows.codecs.codec import Codec
from narrows.errors import InputError
from narrows.media.extents import ImageExtent
from narrows.tokenizers.tokens import Tokens

ITERATIONS = (0, 3, 6, 12, 24, 48)  # by effort
DEFAULT_EFFORT = 1
DEFAULT_MAX_PIXELS = 1 << 20  # of an image that is searched without being asked for


def check_effort(effort: float) -> int:
    """The effort. Raises InputError unless it is a whole number from 0 to 5."""
    if isinstance(effort, bool) or effort not in range(len(ITERATIONS)):
        raise InputError(f"expected an effort of 0 (none) to {len(ITERATIONS) - 1}, got {effort!r}")
    return int(effort)


@dataclass(frozen=True)
class Reference:
    """What a search compares with.

    Args:
        pixels: rows of positions (a slice) of the image to (1, 3, rows, width) in [-1, 1].
        bands: the encoder's latents (D, rows, W), one band of the tokens after another.
        weight: of the squared error of a pixel, the mean of its channels, against one bit.
        bit_costs: see `EntropyModel.encode`.
    """

    pixels: Callable[[slice], Tensor]
    bands: Iterable[Tensor]
    weight: float
    bit_costs: Tensor


@torch.inference_mode(False)
@torch.no_grad()
def improve(codec: Codec, tokens: Tokens, latents: Tensor, reference: Reference, iterations: int) -> Tokens:
    """Tokens of one image after a number of iterations from what was encoded.

    Args:
        codec: with an entropy model.
        tokens: as encoded.
        latents: of the tokens, (D, H, W).
        reference: the image and the weights.
        iterations: number of iterations.
    """
    model, extent = codec.bottleneck, tokens.extent
    assert isinstance(model, EntropyModel)
    assert isinstance(extent, ImageExtent)
    assert tokens.quality_index is not None
    latents = latents.clone()[None]
    first, codes, height = 0, list[Tensor](), latents.shape[2]
    vertical = codec.decoder.reach[0]
    before, after = (height, height) if vertical is None else vertical
    for band in reference.bands:
        last = first + band.shape[1]
        start, touched = max(0, first - before - after), max(0, first - after)  # `touched` see the band after them
        rows = slice(touched, min(last + before, -(-extent.height // codec.stride[0])))
        distortion = _Distortion(
            codec,
            tokens.quality_index,
            latents[:, :, start:first],
            latents[:, :, last : last + before + after],
            reference.pixels(rows)[:, :, : extent.height - touched * codec.stride[0], : extent.width],
            (touched - start) * codec.stride[0],
            extent.channels == 1,
            reference.weight,
        )
        codes.append(refine_codes(model, band[None], tokens.quality_index, distortion, iterations, reference.bit_costs))
        latents[:, :, first:last] = model.decode(codes[-1], tokens.quality_index)
        first = last
    return replace(tokens, codes=torch.cat(codes, 2).to(tokens.codes))


@dataclass(frozen=True)
class _Distortion:
    """Weight × squared error of the pixels that depend on the latents (1, D, h, w) of a band.

    Args:
        codec, quality_index: decoder and quality.
        above, below: latents around the band.
        target: pixels (1, 3, rows, width).
        top: the first row of the target in what is decoded.
        grey: whether the channels of the decoded image are averaged.
        weight: see Reference.
    """

    codec: Codec
    quality_index: int
    above: Tensor
    below: Tensor
    target: Tensor
    top: int
    grey: bool
    weight: float

    def __call__(self, z: Tensor) -> Tensor:
        x = self.codec.synthesize(torch.cat((self.above, z, self.below), 2), self.quality_index).clamp(-1, 1)
        x = x[..., self.top : self.top + self.target.shape[2], : self.target.shape[3]]
        if self.grey:
            x = x.mean(1, keepdim=True)
        return self.weight * (x - self.target).square().mean(1).sum()


def largest_within(count: int, cost: Callable[[int], float], budget: float) -> tuple[int | None, float]:
    """The largest of the indices 0 to `count - 1` whose rising cost is within a budget, by bisection; None if none is.

    Also the smallest cost that was seen.
    """
    low, high, best, smallest = 0, count - 1, None, float("inf")
    while low <= high:
        middle = (low + high) // 2
        spent = cost(middle)
        smallest = min(smallest, spent)
        if spent <= budget:
            best, low = middle, middle + 1
        else:
            high = middle - 1
    return best, smallest
