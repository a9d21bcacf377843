"""Iterative encoding of pictures: codes by closed loop (bottlenecks/refining.py), band by band.

    rows of positions   ┌──────────────┐
                        │ final        │ ▲ reach of the decoder: pixels here depend on the band, and are counted
    band                ├──────────────┤
                        │ refined      │
                        ├──────────────┤
                        │ as encoded   │ ▼ the same
                        └──────────────┘

A band's bits are its own, and the pixels that it touches are decoded with the rows around it, held fixed: what a band
gains, the picture gains. A picture of one band (up to 1024 rows of pixels, if it is not very wide) is optimised whole.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from narrows.bitstream import ImageExtent
from narrows.codecs.bottlenecks.entropy.base import EntropyModel
from narrows.codecs.bottlenecks.entropy.refinement import refine_codes
from narrows.codecs.codec import Codec
from narrows.errors import InputError
from narrows.tokenizers.tokens import Tokens

ROUNDS = (0, 3, 6, 12, 24, 48)  # by effort
USUAL = 1  # effort
USUAL_PIXELS = 1 << 20  # of the largest picture that it is made for without being asked


def check_effort(effort: int) -> None:
    """Raise InputError unless there is such an effort."""
    if type(effort) is not int or not 0 <= effort < len(ROUNDS):
        raise InputError(f"effort {effort!r} given, 0 (none) to {len(ROUNDS) - 1} wanted")


@torch.inference_mode(False)
@torch.no_grad()
def improved(
    codec: Codec,
    tokens: Tokens,
    pixels: Callable[[int, int], Tensor],
    bands: Iterable[Tensor],
    latents: Tensor,
    weight: float,
    rounds: int,
    bit_costs: Tensor,
) -> Tokens:
    """Tokens of a picture after so many rounds from what was encoded.

    pixels: rows of the picture, from and to, as (1, 3, rows, width) in [-1, 1]. bands: the encoder's latents
    (D, rows, W), one band of the tokens after another. latents (D, H, W): of the tokens. weight: of a pixel's squared
    error, the mean of its channels, against one bit. bit_costs: see `EntropyModel.encode`.
    """
    model, stride, extent = codec.bottleneck, codec.stride, tokens.extent
    assert isinstance(model, EntropyModel)
    assert isinstance(extent, ImageExtent)
    assert tokens.setting is not None
    latents = latents.clone()[None]
    reach, first, codes = codec.decoder.reach, 0, list[Tensor]()
    reach = latents.shape[2] if reach is None else reach
    for band in bands:
        last = first + band.shape[1]
        start, touched = max(0, first - 2 * reach), max(0, first - reach)
        distortion = _Distortion(
            codec,
            tokens.setting,
            latents[:, :, start:first],
            latents[:, :, last : last + 2 * reach],
            pixels(touched * stride, min((last + reach) * stride, extent.height))[..., : extent.width],
            (touched - start) * stride,
            extent.channels == 1,
            weight,
        )
        codes.append(refine_codes(model, band[None], tokens.setting, distortion, rounds, bit_costs))
        latents[:, :, first:last] = model.decode(codes[-1], tokens.setting)
        first = last
    return replace(tokens, codes=torch.cat(codes, 2).to(tokens.codes))


@dataclass(frozen=True)
class _Distortion:
    """What latents (1, D, h, w) of a band cost: weight × squared error of the pixels that they touch.

    above, below: latents around them. given: pixels (1, 3, rows, width); top: the first of them, in what is decoded.
    """

    codec: Codec
    setting: int
    above: Tensor
    below: Tensor
    given: Tensor
    top: int
    grey: bool
    weight: float

    def __call__(self, z: Tensor) -> Tensor:
        x = self.codec.synthesize(torch.cat((self.above, z, self.below), 2), self.setting).clamp(-1, 1)
        x = x[..., self.top : self.top + self.given.shape[2], : self.given.shape[3]]
        if self.grey:
            x = x.mean(1, keepdim=True)
        return self.weight * (x - self.given).square().mean(1).sum()
