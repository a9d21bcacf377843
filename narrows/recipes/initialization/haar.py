"""Initialises a video codec as the KLT of its training data in the domain of its Haar patches, with its correlations.

The linear paths of encoder and decoder start as the principal components of blocks in time and space. Gains start as
the quantization steps that are optimal at high rates, and the prediction of a latent frame from the one before it as
the correlation of the two. Training changes all of them.
"""

import torch
from torch import Tensor
from torch.utils.data import Dataset

from narrows.codecs.bottlenecks.entropy.space_time import SpaceTimeContext
from narrows.codecs.bottlenecks.fsq import FSQ
from narrows.codecs.codec import Codec
from narrows.codecs.layers.wavelets import haar
from narrows.codecs.video.factorised import FactorisedDecoder, FactorisedEncoder
from narrows.errors import InputError
from narrows.recipes.initialization.lapped import set_gains
from narrows.recipes.initialization.pca import set_projections


@torch.no_grad()
def initialize_haar(codec: Codec, crops: Dataset[Tensor], lambdas: Tensor) -> None:
    """Initialise the transforms, gains and persistence of a codec of FactorisedEncoder and SpaceTimeContext.

    Args:
        codec: Codec to initialise.
        crops: Crops (3, T, H, W) of its training data, all of which are used, of at least two latent frames.
        lambdas: Weights (8,) of the squared error, for the eight qualities that have their own gains.

    Raises:
        InputError: The codec has other parts, or the crops are too short.
    """
    model = codec.bottleneck
    if not isinstance(model, SpaceTimeContext):
        raise InputError(f"expected a SpaceTimeContext for this initialisation, got {type(model).__name__}")
    deviations, correlation = set_transforms(codec, crops)
    set_gains(model, deviations, lambdas)
    model.initialize_persistence(correlation)


@torch.no_grad()
def initialize_haar_quantizer(codec: Codec, crops: Dataset[Tensor]) -> None:
    """Initialise a codec of factorised networks and another bottleneck; the scalars of FSQ start as the components.

    Args:
        codec: Codec to initialise.
        crops: Crops (3, T, H, W) of its training data, all of which are used, of at least two latent frames.

    Raises:
        InputError: The codec has other networks, or fewer channels of latents than scalars of FSQ.
    """
    bottleneck = codec.bottleneck
    if isinstance(bottleneck, FSQ) and sum(bottleneck.sizes) > bottleneck.dim:
        raise InputError(
            f"expected at least {sum(bottleneck.sizes)} latent channels for the scalars of FSQ, got {bottleneck.dim}"
        )
    deviations, _ = set_transforms(codec, crops)
    encoder, decoder = codec.encoder, codec.decoder
    assert isinstance(encoder, FactorisedEncoder)
    assert isinstance(decoder, FactorisedDecoder)
    for parameter in encoder.linear.parameters():  # so that latents have the standard deviation 1
        parameter.div_(deviations.view(-1, *[1] * (parameter.ndim - 1)))
    decoder.linear.weight.mul_(deviations.view(1, -1, 1, 1, 1))
    if isinstance(bottleneck, FSQ):
        set_projections(bottleneck)


@torch.no_grad()
def set_transforms(codec: Codec, crops: Dataset[Tensor]) -> tuple[Tensor, Tensor]:
    """Set the linear paths to the KLT of crops (3, T, H, W), and the other paths to zero.

    Returns:
        The standard deviation of each latent (D,), and its correlation (D,) with the latent frame before it.

    Raises:
        InputError: For other networks, and crops of fewer than two latent frames.
    """
    encoder, decoder = codec.encoder, codec.decoder
    if not isinstance(encoder, FactorisedEncoder) or not isinstance(decoder, FactorisedDecoder):
        found = ", ".join(type(part).__name__ for part in (encoder, decoder))
        raise InputError(f"expected FactorisedEncoder and FactorisedDecoder for this initialisation, got {found}")
    blocks = torch.stack([_blocks(crops[index], encoder) for index in range(len(crops))])  # type: ignore[arg-type]
    if blocks.shape[1] < 2:
        raise InputError(f"expected crops of at least {2 * encoder.stride[0]} frames, got fewer; raise data.frames")
    flat = blocks.flatten(0, 2).double()
    mean = flat.mean(0)
    values, vectors = torch.linalg.eigh((flat - mean).T @ (flat - mean) / len(flat))
    count = encoder.dim
    components = vectors.flip(1)[:, :count]  # (coefficients, D)
    encoder.linear.weight.copy_(components.T.view_as(encoder.linear.weight))
    decoder.linear.weight.copy_(components.view_as(decoder.linear.weight))
    for layer, bias in ((encoder.linear, -(mean @ components)), (decoder.linear, mean)):
        assert layer.bias is not None
        layer.bias.copy_(bias)
    for layer in (encoder.out, decoder.out):
        for parameter in layer.parameters():
            parameter.zero_()
    y = (blocks.double() - mean) @ components
    correlation = (y[:, 1:] * y[:, :-1]).mean((0, 1, 2)) / y.square().mean((0, 1, 2)).clamp(min=1e-12)
    return values.flip(0)[:count].clamp(min=1e-12).sqrt().float(), correlation.float()


def _blocks(x: Tensor, encoder: FactorisedEncoder) -> Tensor:
    """A crop (3, T, H, W) as blocks (t, n, coefficients), in the order of the weights of the linear paths."""
    x = x[None, :, : x.shape[1] // encoder.stride[0] * encoder.stride[0]]
    for _ in range(encoder.patch):
        x = haar(x, 3)
    side = encoder.linear.stride[1]
    x = x[0].unflatten(2, (-1, side)).unflatten(4, (-1, side))  # (C, t, h, side, w, side)
    return x.permute(1, 2, 4, 0, 3, 5).flatten(3).flatten(1, 2)
