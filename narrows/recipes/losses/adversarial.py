"""Losses between a codec and its discriminators.

Hinge losses and feature matching as in EnCodec (arXiv 2210.13438, section 3.4); the generator loss without a bound and
its adaptive weight as in VQGAN (arXiv 2012.09841, section 3.1). A discriminator returns the features of its layers, the
logits last; logits are high for signals that it takes for real.
"""

import torch
from torch import Tensor

Features = list[Tensor]


def hinge_discriminator_loss(real: list[Features], fake: list[Features]) -> Tensor:
    """Hinge loss of discriminators, max(0, 1 - logits) of real and max(0, 1 + logits) of decoded signals.

    Args:
        real: Features of original signals, one list for each discriminator.
        fake: Features of decoded signals.

    Returns:
        The mean over discriminators, a scalar.
    """
    losses = [(1 - r[-1]).relu().mean() + (1 + f[-1]).relu().mean() for r, f in zip(real, fake, strict=True)]
    return sum(losses[1:], losses[0]) / len(losses)


def hinge_generator_loss(fake: list[Features]) -> Tensor:
    """Hinge loss of the codec, max(0, 1 - logits) of decoded signals, averaged over discriminators (EnCodec)."""
    losses = [(1 - f[-1]).relu().mean() for f in fake]
    return sum(losses[1:], losses[0]) / len(losses)


def mean_generator_loss(fake: list[Features]) -> Tensor:
    """Minus the mean logits of decoded signals, averaged over discriminators (VQGAN)."""
    losses = [-f[-1].mean() for f in fake]
    return sum(losses[1:], losses[0]) / len(losses)


def adaptive_weight(loss: Tensor, generator_loss: Tensor, last_layer: Tensor) -> Tensor:
    """VQGAN's adaptive weight λ of the generator loss (arXiv 2012.09841, equation 7).

    Args:
        loss: Sum of the other losses, a scalar.
        generator_loss: Loss to be weighted, a scalar.
        last_layer: Weight of the decoder's last layer.

    Returns:
        Ratio of the norms of the two losses' gradients at the last layer, a detached scalar of at most 10,000.
    """
    norm, generator_norm = (
        torch.autograd.grad(value, last_layer, retain_graph=True)[0].norm() for value in (loss, generator_loss)
    )
    return (norm / (generator_norm + 1e-4)).clamp(0, 1e4).detach()


def feature_matching_loss(real: list[Features], fake: list[Features]) -> Tensor:
    """Mean |real - fake| of each layer's features relative to its mean |real|, averaged over layers."""
    losses = [
        (a.detach() - b).abs().mean() / a.detach().abs().mean().clamp(min=1e-4)
        for r, f in zip(real, fake, strict=True)
        for a, b in zip(r[:-1], f[:-1], strict=True)
    ]
    return sum(losses[1:], losses[0]) / len(losses)
