"""Encoder-side search for better codes of an image; the decoder is unchanged (bottlenecks/entropy/refinement.py).

    latent rows         ┌──────────────┐
                        │ final        │ ▲ within the decoder's reach: these pixels depend on the band too
    band                ├──────────────┤
                        │ refined      │
                        ├──────────────┤
                        │ as encoded   │ ▼ within the decoder's reach
                        └──────────────┘

Bands are coded independently and refined from top to bottom. The distortion of a band is that of all pixels that depend
on it, with the latents around the band held fixed, so an improvement of a band improves the image. An image of one band
(up to 1024 rows of pixels) is optimised whole.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from narrows.codecs.bottlenecks.entropy.base import EntropyModel
from narrows.codecs.bottlenecks.entropy.refinement import refine_codes
from narrows.codecs.codec import Codec
from narrows.errors import InputError, shortened
from narrows.media.extents import ImageExtent
from narrows.tokenizers.settings import is_number
from narrows.tokenizers.tokens import Tokens

ITERATIONS = (0, 3, 6, 12, 24, 48)  # for efforts 0 to 5
DEFAULT_EFFORT = 1
DEFAULT_MAX_PIXELS = 1 << 20  # larger images are not searched by default


def check_effort(effort: float) -> int:
    """Return the effort. Raises InputError unless it is an integer from 0 to 5."""
    if not is_number(effort) or effort not in range(len(ITERATIONS)):
        raise InputError(f"expected an effort of 0 (none) to {len(ITERATIONS) - 1}, got {shortened(effort)}")
    return int(effort)


@dataclass(frozen=True)
class Reference:
    """The original image for a search, as pixels and latents, and the weights of its cost.

    Args:
        pixels: function of a range of latent rows that returns their pixels (1, 3, rows, width) in [-1, 1].
        bands: the encoder's latents (D, rows, W) of each band, from top to bottom.
        weight: weight of the squared error of a pixel (mean of its channels) relative to one bit.
        bit_costs: see `EntropyModel.encode`.
    """

    pixels: Callable[[slice], Tensor]
    bands: Iterable[Tensor]
    weight: float
    bit_costs: Tensor


@torch.inference_mode(False)
@torch.no_grad()
def improve(codec: Codec, tokens: Tokens, latents: Tensor, reference: Reference, iterations: int) -> Tokens:
    """Search for better Tokens of one image.

    Args:
        codec: codec with an entropy model.
        tokens: the Tokens from encoding.
        latents: latents of these Tokens, (D, H, W).
        reference: the original image and the weights.
        iterations: number of iterations.
    """
    with torch.autocast(latents.device.type, enabled=False):
        return _improve(codec, tokens, latents, reference, iterations)


def _improve(codec: Codec, tokens: Tokens, latents: Tensor, reference: Reference, iterations: int) -> Tokens:
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
        # Pixels of latent rows from `affected` on depend on the band; their decoding needs latents from `start` on.
        start, affected = max(0, first - before - after), max(0, first - after)
        rows = slice(affected, min(last + before, -(-extent.height // codec.stride[0])))
        distortion = _Distortion(
            codec,
            tokens.quality_index,
            latents[:, :, start:first],
            latents[:, :, last : last + before + after],
            reference.pixels(rows)[:, :, : extent.height - affected * codec.stride[0], : extent.width],
            (affected - start) * codec.stride[0],
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
        codec: codec that decodes the latents.
        quality_index: quality index of the latents.
        above, below: latents around the band.
        target: original pixels (1, 3, rows, width).
        top: row of the decoded pixels at which the target starts.
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
        x = self.codec.synthesize(torch.cat((self.above, z, self.below), 2), self.quality_index).float().clamp(-1, 1)
        x = x[..., self.top : self.top + self.target.shape[2], : self.target.shape[3]]
        if self.grey:
            x = x.mean(1, keepdim=True)
        return self.weight * (x - self.target).square().mean(1).sum()


def largest_within(count: int, cost: Callable[[int], float], budget: float) -> tuple[int | None, float]:
    """Find the largest index whose cost is within a budget, by bisection.

    Args:
        count: number of indices, from 0.
        cost: cost of an index, increasing.
        budget: largest allowed cost.

    Returns:
        The index, None if there is none, and the smallest cost that was computed.
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
