"""Losses between a codec and its discriminators: hinge, and feature matching (EnCodec, arXiv 2210.13438, section 3.4).

VQGAN (arXiv 2012.09841, section 3.1) has the same hinge for its discriminator, no bound to the score that it looks for,
and a weight that keeps the two aims of the decoder in balance. A discriminator returns the features of its layers, its
scores last.
"""

import torch
from torch import Tensor

Features = list[Tensor]


def discriminator_loss(real: list[Features], fake: list[Features]) -> Tensor:
    """Mean hinge loss over discriminators that shall score real signals above 1 and decoded ones below -1."""
    losses = [(1 - r[-1]).relu().mean() + (1 + f[-1]).relu().mean() for r, f in zip(real, fake, strict=True)]
    return sum(losses[1:], losses[0]) / len(losses)


def generator_loss(fake: list[Features]) -> Tensor:
    """Mean over discriminators of what keeps the scores of decoded signals below 1."""
    losses = [(1 - f[-1]).relu().mean() for f in fake]
    return sum(losses[1:], losses[0]) / len(losses)


def unbounded_loss(fake: list[Features]) -> Tensor:
    """Minus the mean score of decoded signals."""
    losses = [-f[-1].mean() for f in fake]
    return sum(losses[1:], losses[0]) / len(losses)


def balance(loss: Tensor, other: Tensor, last: Tensor) -> Tensor:
    """The weight of `other` at which it moves the parameter `last` as much as `loss` does (equation 7 of VQGAN)."""
    ours, theirs = (torch.autograd.grad(value, last, retain_graph=True)[0].norm() for value in (loss, other))
    return (ours / (theirs + 1e-4)).clamp(0, 1e4).detach()


def feature_loss(real: list[Features], fake: list[Features]) -> Tensor:
    """Mean over layers of |real - fake| relative to the mean |real|."""
    losses = [
        (a.detach() - b).abs().mean() / a.detach().abs().mean().clamp(min=1e-4)
        for r, f in zip(real, fake, strict=True)
        for a, b in zip(r[:-1], f[:-1], strict=True)
    ]
    return sum(losses[1:], losses[0]) / len(losses)
