"""What an image codec starts from: the lapped linear transform codec of its training data.

Encoder and decoder begin as the principal components of blocks of 16 × 16 pixels, whose edges an orthonormal lapped
transform has folded into each other; gains begin as the steps that are best at high rates. Training moves all of it.
"""

from math import log, sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from narrows.codecs.bottlenecks.entropy.space_channel import SpaceChannelContext
from narrows.codecs.codec import Codec
from narrows.codecs.image.lapped import LAP, STRIDE, LappedDecoder, LappedEncoder
from narrows.errors import InputError
from narrows.recipes.data.images import PictureCrops

FULL_SCALE = 127.5  # 8-bit steps in a unit of the networks
LEAST_SCALE = 0.15  # of symbols, that the tables begin with


@torch.no_grad()
def start_lapped(codec: Codec, crops: PictureCrops, lambdas: Tensor) -> None:
    """Set transforms and gains of a codec of lapped transforms and context groups from crops of its training data.

    lambdas (8,): the weights of the distortion, one for each quality that has gains of its own; see `rate_distortion`.
    Raises InputError for a codec of other parts.
    """
    encoder, model, decoder = codec.encoder, codec.bottleneck, codec.decoder
    if not (
        isinstance(encoder, LappedEncoder)
        and isinstance(model, SpaceChannelContext)
        and isinstance(decoder, LappedDecoder)
    ):
        raise InputError("a lapped start needs a lapped-encoder, space-channel-context and a lapped-decoder")
    fold = torch.from_numpy(lapped(LAP)).float()  # (16, 32)
    x = torch.stack([crops[index] for index in range(len(crops))])
    mean = x.mean((0, 2, 3))
    blocks = (x - mean.view(3, 1, 1)).unfold(2, 2 * STRIDE, STRIDE).unfold(3, 2 * STRIDE, STRIDE)
    folded = torch.einsum("ai,bchwij,dj->bhwcad", fold, blocks, fold).flatten(0, 2)  # (N, 3, 16, 16)
    values, vectors = torch.linalg.eigh(_covariance(folded))
    count = encoder.dim
    deviations = values.flip(0)[:count].clamp(min=1e-12).sqrt().float()
    components = vectors.flip(1)[:, :count].T.float().reshape(count, 3, STRIDE, STRIDE)
    kernels = torch.einsum("ai,ocad,dj->ocij", fold, components, fold)

    halves = kernels.view(count, 3, 2, STRIDE, 2, STRIDE).permute(0, 1, 3, 5, 2, 4).reshape(count, -1, 2, 2)
    _set(encoder.straight, halves, -(kernels * mean.view(3, 1, 1)).sum((1, 2, 3)))
    _set(decoder.straight, halves.flip(2, 3).transpose(0, 1), mean.repeat_interleave(STRIDE**2))
    decoder.sideways.copy_((components * components.flip(3)).sum((1, 2, 3)).view(-1, 1, 1))
    decoder.upright.copy_((components * components.flip(2)).sum((1, 2, 3)).view(-1, 1, 1))
    for layer in (encoder.out, decoder.last):
        _set(layer, torch.zeros_like(layer.weight), torch.zeros(layer.out_channels))
    # At high rates the distortion of a step is step² / 12 for each of 3 samples, and halving it costs one bit a sample.
    steps = (18 / (log(2) * lambdas)).sqrt().view(-1, 1) / FULL_SCALE
    model.spread.copy_(deviations)
    model.root_gain.copy_(steps.rsqrt().expand_as(model.root_gain))
    model.inverse.copy_(steps.expand_as(model.inverse))
    model.log_scale.copy_((deviations / steps).clamp(min=LEAST_SCALE).log2())


def _set(layer: nn.Conv2d | nn.ConvTranspose2d, weight: Tensor, bias: Tensor) -> None:
    assert layer.bias is not None
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)


def lapped(half: int) -> NDArray[np.float64]:
    """Folding of 4 `half` samples into 2 `half`: the orthonormal lapped transform without its cosine transform.

    From its factors in Malvar and Staelin, IEEE TASSP 37(4), 1989, as a filter over the edges of blocks (Tran et al.,
    IEEE TSP 51(6), 2003).
    """
    n = np.arange(half)
    cosine2 = sqrt(2 / half) * np.cos(np.pi * (n + 0.5) * n[:, None] / half)
    cosine2[0] /= sqrt(2)
    cosine4 = sqrt(2 / half) * np.cos(np.pi * (n + 0.5) * (n[:, None] + 0.5) / half)
    same, zero = np.eye(half), np.zeros((half, half))
    turned = same[::-1]
    butterfly = np.block([[same, turned], [turned, -same]])
    rotation = turned @ cosine2.T @ cosine4 @ turned
    edge = 0.5 * butterfly @ np.block([[same, zero], [zero, rotation]]) @ butterfly
    out = np.zeros((2 * half, 4 * half))
    out[:half, : 2 * half], out[half:, 2 * half :] = edge[half:], edge[:half]
    return out


def _covariance(blocks: Tensor) -> Tensor:
    """Covariance (C h w, C h w) of blocks (N, C, h, w) and their mirror images, so that components have a parity."""
    total = torch.zeros(blocks[0].numel(), blocks[0].numel(), dtype=torch.float64)
    for axes in ((), (2,), (3,), (2, 3)):
        flat = blocks.flip(axes).flatten(1).double()
        total += flat.T @ flat
    return total / (4 * len(blocks))
