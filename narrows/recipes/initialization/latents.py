"""Initialises a Re-Bottleneck as a PCA of the latents that it is trained on.

The linear layers of its networks become the principal components, those that matter most in the first channels; the
other layers begin with an output of zero. So training starts from the best linear bottleneck, and every prefix of its
channels from the best linear one of that size, in the metric of the reconstruction loss.
"""

import torch
from torch import Tensor

from narrows.codecs.bottlenecks.continuous import Continuous
from narrows.codecs.bottlenecks.fsq import FSQ
from narrows.codecs.codec import Codec
from narrows.codecs.latent import LatentDecoder, LatentEncoder
from narrows.recipes.initialization.decoder_metric import MIN_POWER, Statistics, square_root
from narrows.recipes.initialization.pca import set_projections

INITIAL_LOG_VARIANCE = -6.0


@torch.no_grad()
def initialize_latents(codec: Codec, statistics: Statistics, metric: Tensor) -> None:
    """Set the linear layers of a Re-Bottleneck and the projections of its bottleneck.

    The components keep their proportions for a continuous bottleneck, with a mean variance of 1; for others each has
    the variance 1.

    Args:
        codec: of latents: a LatentEncoder, a bottleneck and a LatentDecoder.
        statistics: of the latents.
        metric: (D, D) of the reconstruction loss, float64.
    """
    encoder, bottleneck, decoder = codec.encoder, codec.bottleneck, codec.decoder
    assert isinstance(encoder, LatentEncoder)
    assert isinstance(decoder, LatentDecoder)
    root = square_root(metric)
    powers, vectors = torch.linalg.eigh(root @ statistics.covariance @ root)
    count = min(encoder.dim, len(powers))
    powers = powers.flip(0)[:count].clamp(min=MIN_POWER * float(powers[-1]))
    components = vectors.flip(1)[:, :count]
    continuous = isinstance(bottleneck, Continuous)
    scales = powers.mean().sqrt().expand(count) if continuous else powers.sqrt()
    analysis, synthesis = root @ components / scales, torch.linalg.solve(root, components * scales)
    into, out = encoder.network.linear, decoder.network.linear
    into.weight[:count] = analysis.T.float()
    into.bias[:count] = -(statistics.mean @ analysis).float()
    out.weight[:, :count] = synthesis.float()
    out.bias.copy_(statistics.mean.float())
    if isinstance(bottleneck, FSQ) and sum(bottleneck.sizes) <= bottleneck.dim:
        set_projections(bottleneck)
    if isinstance(bottleneck, Continuous):
        for layer in (bottleneck.project_in, bottleneck.project_out):
            layer.weight.zero_()
            layer.bias.zero_()
            passed = min(bottleneck.channels, count)
            layer.weight[:passed, :passed] = torch.eye(passed)
        bottleneck.project_in.bias[bottleneck.channels :] = INITIAL_LOG_VARIANCE  # of a Gaussian without rounding
