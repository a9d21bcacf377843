"""Initialises an image codec as a lapped transform codec with the KLT of its training data.

Encoder and decoder start as the principal components (KLT) of blocks of 16 × 16 pixels, after an orthonormal lapped
transform has folded the edges of neighbouring blocks into each other. Gains start as the quantization steps that are
optimal at high rates. Training changes all of them.
"""

from math import log, sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from narrows.codecs.bottlenecks.entropy.space_channel import SpaceChannelContext
from narrows.codecs.bottlenecks.fsq import FSQ
from narrows.codecs.bottlenecks.vq import VQ
from narrows.codecs.codec import Codec
from narrows.codecs.image.lapped import LAP, STRIDE, LappedDecoder, LappedEncoder
from narrows.codecs.quantization.codebooks import EMACodebook
from narrows.errors import InputError
from narrows.recipes.data.crops import RandomCrops
from narrows.recipes.initialization.pca import RANDOM_FRACTION, set_projections

FULL_SCALE = 127.5  # 8-bit steps in one unit of the networks' range [-1, 1]
MIN_SCALE = 0.15  # smallest initial scale of a latent, in quantization steps


@torch.no_grad()
def initialize_lapped(codec: Codec, crops: RandomCrops, lambdas: Tensor) -> None:
    """Initialise the transforms and gains of a codec with lapped transforms and a space-channel context model.

    Args:
        codec: Codec to initialise.
        crops: Crops of its training data, all of which are used.
        lambdas: Weights (8,) of the squared error, for the eight qualities that have their own gains.

    Raises:
        InputError: The codec has other parts.
    """
    model = codec.bottleneck
    if not isinstance(model, SpaceChannelContext):
        raise InputError(_expected(codec, SpaceChannelContext.__name__))
    set_gains(model, _set_transforms(codec, crops, SpaceChannelContext.__name__), lambdas)


@torch.no_grad()
def set_gains(model: SpaceChannelContext, deviations: Tensor, lambdas: Tensor) -> None:
    """Set gains and scales of a context model for latents of an orthonormal transform.

    Args:
        model: Context model.
        deviations: Standard deviations (D,) of the latents.
        lambdas: As of `initialize_lapped`.
    """
    # At high rates a quantization step has the distortion step² / 12, and halving the step costs one bit per sample.
    steps = (18 / (log(2) * lambdas)).sqrt().view(-1, 1) / FULL_SCALE
    model.spread.copy_(deviations)
    model.root_gain.copy_(steps.rsqrt().expand_as(model.root_gain))
    model.inverse.copy_(steps.expand_as(model.inverse))
    model.log_scale.copy_((deviations / steps).clamp(min=MIN_SCALE).log2())


@torch.no_grad()
def initialize_lapped_quantizer(codec: Codec, crops: RandomCrops) -> None:
    """Initialise a codec of lapped transforms and FSQ or VQ.

    The scalars of FSQ start as the largest components of the KLT, each divided by its deviation. The vectors of VQ are
    the largest components themselves, whose squared error is that of the image, and the codes their k-means.

    Args:
        codec: Codec to initialise.
        crops: Crops of its training data, all of which are used.

    Raises:
        InputError: The codec has other parts, or fewer channels of latents than scalars.
    """
    encoder, bottleneck, decoder = codec.encoder, codec.bottleneck, codec.decoder
    known = isinstance(bottleneck, VQ) and isinstance(bottleneck.codebook, EMACodebook)
    count = bottleneck.codebook.dim if isinstance(bottleneck, VQ) else sum(getattr(bottleneck, "sizes", (0,)))
    if not (known or isinstance(bottleneck, FSQ)) or count > bottleneck.dim:
        raise InputError(_expected(codec, "FSQ, or VQ with an EMACodebook, of at most as many scalars as channels,"))
    deviations = _set_transforms(codec, crops, "FSQ or VQ")
    assert isinstance(encoder, LappedEncoder)
    assert isinstance(decoder, LappedDecoder)
    assert encoder.linear.bias is not None
    encoder.linear.weight.div_(deviations.view(-1, 1, 1, 1))  # so that latents have the standard deviation 1
    encoder.linear.bias.div_(deviations)
    decoder.linear.weight.mul_(deviations.view(1, -1, 1, 1))
    if isinstance(bottleneck, FSQ):
        set_projections(bottleneck)
    elif isinstance(bottleneck, VQ):
        projection = bottleneck.projection
        for layer, factors in ((projection.down_map, deviations), (projection.up_map, 1 / deviations)):
            if isinstance(layer, nn.Linear):
                layer.weight.mul_(RANDOM_FRACTION)
                layer.weight[:count, :count] += torch.diag(factors[:count])
                layer.bias.zero_()
        x = torch.stack([crops[index] for index in range(len(crops))])
        latents = torch.cat([encoder(part) for part in x.split(16)])
        bottleneck.codebook.prepare(projection.down(latents).flatten(0, -2))


def _expected(codec: Codec, bottleneck: str) -> str:
    found = ", ".join(type(part).__name__ for part in (codec.encoder, codec.bottleneck, codec.decoder))
    return f"expected LappedEncoder, {bottleneck} and LappedDecoder for the lapped initialisation, got {found}"


def _set_transforms(codec: Codec, crops: RandomCrops, bottleneck: str) -> Tensor:
    """Set the linear transforms to the KLT of the crops; returns the standard deviations (D,) of the latents."""
    encoder, decoder = codec.encoder, codec.decoder
    if not isinstance(encoder, LappedEncoder) or not isinstance(decoder, LappedDecoder):
        raise InputError(_expected(codec, bottleneck))
    fold = torch.from_numpy(lapped_fold(LAP)).float()  # (16, 32)
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
    _set(encoder.linear, halves, -(kernels * mean.view(3, 1, 1)).sum((1, 2, 3)))
    _set(decoder.linear, halves.flip(2, 3).transpose(0, 1), mean.repeat_interleave(STRIDE**2))
    decoder.parity_x.copy_((components * components.flip(3)).sum((1, 2, 3)).view(-1, 1, 1))
    decoder.parity_y.copy_((components * components.flip(2)).sum((1, 2, 3)).view(-1, 1, 1))
    for layer in (encoder.out, decoder.last):
        _set(layer, torch.zeros_like(layer.weight), torch.zeros(layer.out_channels))
    return deviations


def _set(layer: nn.Conv2d | nn.ConvTranspose2d, weight: Tensor, bias: Tensor) -> None:
    assert layer.bias is not None
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)


def lapped_fold(half: int) -> NDArray[np.float64]:
    """Build the matrix (2 half, 4 half) of the orthonormal lapped transform without its cosine transform.

    Its factors are from Malvar and Staelin, IEEE TASSP 37(4), 1989, written as a filter over block edges (Tran et al.,
    IEEE TSP 51(6), 2003).

    Args:
        half: Half of the block size in samples.
    """
    n = np.arange(half)
    cosine2 = sqrt(2 / half) * np.cos(np.pi * (n + 0.5) * n[:, None] / half)
    cosine2[0] /= sqrt(2)
    cosine4 = sqrt(2 / half) * np.cos(np.pi * (n + 0.5) * (n[:, None] + 0.5) / half)
    identity, zero = np.eye(half), np.zeros((half, half))
    reversal = identity[::-1]
    butterfly = np.block([[identity, reversal], [reversal, -identity]])
    rotation = reversal @ cosine2.T @ cosine4 @ reversal
    edge = 0.5 * butterfly @ np.block([[identity, zero], [zero, rotation]]) @ butterfly
    out = np.zeros((2 * half, 4 * half))
    out[:half, : 2 * half], out[half:, 2 * half :] = edge[half:], edge[:half]
    return out


def _covariance(blocks: Tensor) -> Tensor:
    """Covariance (C h w, C h w) of blocks (N, C, h, w) and their mirror images: its components are even or odd."""
    total = torch.zeros(blocks[0].numel(), blocks[0].numel(), dtype=torch.float64)
    for axes in ((), (2,), (3,), (2, 3)):
        flat = blocks.flip(axes).flatten(1).double()
        total += flat.T @ flat
    return total / (4 * len(blocks))
