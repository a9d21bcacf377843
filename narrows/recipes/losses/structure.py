"""Losses that give latents y (B, d, *grid) a structure: latents that follow transforms of the signal, or a meaning.

x ─▶ codec ─▶ y ──▶ T_p(y) ─┐                           y ─▶ mean over the grid ─▶ head ─┐
│                           ├─▶ EquivarianceLoss                                         ├─▶ AlignmentLoss
└▶ transform by p ─▶ codec ─▶ y_p                      embedding or label of the signal ─┘

They serve a bottleneck around a frozen codec (Re-Bottleneck, Bralios et al.), which also has to keep the codec's
latents: LatentReconstructionLoss. The forms of the losses are those of this library, not of the paper.
"""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from narrows.codecs import distributed as ranks
from narrows.errors import InputError, described, shortened
from narrows.recipes.data.transforms import Transform

MAX_SCALE = 100.0  # largest factor of cosine similarities, an inverse temperature
INITIAL_SCALE = 1 / 0.07
OCTAVES = 2  # of Fourier features: half a period and a whole one over the range [-1, 1] of a parameter
VARIANCE_FLOOR = 1e-3  # smallest variance of a channel, as a fraction of the mean of all channels
TINY = 1e-12


class LatentMap(nn.Module):
    """A learned transform T_p of latents, the same at all positions, with parameters p.

    T_p(y) = (1 + s(p)) ⊙ y + b(p) + U (w(p) ⊙ V y), with a network of Fourier features of p for s, b and w.

    In latents that are a linear transform B of the signal's frequency bands, a gain or an equaliser multiplies each
    band by a factor: T_p = B diag(g(p)) B⁻¹, which is U diag(w) V for U = B, V = B⁻¹. In latents that are logarithms of
    amplitudes, it adds a vector b(p). The network sets factors and vector; the matrices U and V are the same for all p.

    The network's outputs for p = 0 are subtracted: T_0 is always the identity, and so is every T_p at initialisation.

    Args:
        dim: channels d of the latents.
        parameters: number P of parameters.
        width: hidden units of the network.
    """

    def __init__(self, dim: int, parameters: int, width: int = 64) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(parameters * (1 + 2 * OCTAVES), width), nn.SiLU())
        self.last = nn.Linear(width, 3 * dim, bias=False)
        nn.init.zeros_(self.last.weight)
        self.enter, self.leave = nn.Linear(dim, dim, bias=False), nn.Linear(dim, dim, bias=False)  # V and U
        nn.init.orthogonal_(self.enter.weight)
        with torch.no_grad():
            self.leave.weight.copy_(self.enter.weight.T)  # U starts as the inverse of V

    def forward(self, y: Tensor, parameters: Tensor) -> Tensor:
        """Latents (B, d, *grid) and parameters (B, P) in [-1, 1] to transformed latents (B, d, *grid)."""
        hidden = self.network(_fourier(parameters)) - self.network(_fourier(torch.zeros_like(parameters[:1])))
        scale, shift, factors = self.last(hidden)[:, None].chunk(3, 2)  # (B, 1, d) each
        vectors = y.flatten(2).transpose(1, 2)  # (B, N, d)
        vectors = vectors * (1 + scale) + shift + self.leave(factors * self.enter(vectors))
        return vectors.transpose(1, 2).reshape(y.shape)


class EquivarianceLoss(nn.Module):
    """Mean squared error of T_p(y) against the latents of the transformed signal, relative to their variance.

    The error of each channel is divided by this channel's variance over batch and grid, and averaged over channels: 0
    for exact equivariance, 2 for latents without any relation. Both latents get gradients, and so does the variance.
    With a constant in its place, smaller latents would always lower the loss, down to the collapse y = 0. The quotient
    does not change when all latents are scaled, so nothing pulls at their scale; and since each channel counts in
    relation to its own scale, none can be hidden behind another of larger variance. What all channels have in common
    can hide the rest: latents may follow a transform in most of their variance, and hold what does not follow it, such
    as the rounding errors of a base with codes, in small differences between channels.

    Args:
        transform: transform of the signal. T_p is its `latent` where that is known, and otherwise a LatentMap, whose
            parameters are trained along with the latents. Positions that `latent` fills with zeros are left out, since
            the latents of a signal's silence need not be 0.
        dim: channels of the latents.
        width: hidden units of the LatentMap.
    """

    def __init__(self, transform: Transform, dim: int, width: int = 64) -> None:
        super().__init__()
        self.transform = transform
        self.map = None if transform.is_known else LatentMap(dim, transform.count, width)

    def predict(self, y: Tensor, parameters: Tensor) -> Tensor:
        """Transform latents (B, d, *grid) with parameters (B, P) to T_p(y), of the same shape."""
        if self.map is not None:
            mapped: Tensor = self.map(y, parameters)
            return mapped
        items = [self.transform.latent(each, p) for each, p in zip(y, parameters.tolist(), strict=True)]
        return torch.stack([item for item in items if item is not None])

    def forward(self, y: Tensor, y_transformed: Tensor, parameters: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            y: latents (B, d, *grid) of signals.
            y_transformed: latents (B, d, *grid) of the transformed signals.
            parameters: of the transforms (B, P), in [-1, 1].

        Returns:
            A scalar.
        """
        with torch.autocast(y.device.type, enabled=False):
            y, y_transformed = y.float(), y_transformed.float()
            squares = _per_channel(self.predict(y, parameters.to(y)) - y_transformed).square()
            filled = torch.ones_like(y[:, :1])
            if self.transform.is_known:
                filled = self.predict(filled, parameters)  # 0 where `latent` fills in zeros
            weights = _per_channel(filled)
            errors = (weights * squares).sum(1) / weights.sum().clamp(min=1)
            variances = _per_channel(y_transformed).var(1, correction=0)
            return (errors / (variances + VARIANCE_FLOOR * variances.mean() + TINY)).mean()


class AlignmentLoss(nn.Module):
    """Loss between latents, averaged over the grid, normalized and mapped linearly, and what a signal means.

    "contrastive"   latents match the embedding of their signal among those of the batches of all ranks, and the reverse
                    (CLIP, Radford et al., arXiv 2103.00020, figure 3): cross-entropy in nats. The mean of the ranks'
                    losses is the loss of the whole batch, and so is the mean of their gradients. In eval mode it is
                    among those of the batch alone: ranks may have different numbers of batches to validate.
    "cosine"        one minus the cosine similarity to the embedding
    "labels"        cross-entropy of a classifier, in nats

    Args:
        dim: channels of the latents.
        target_dim: size E of the embeddings, or number of classes.
        form: one of the three.

    Raises:
        InputError: for another form.
    """

    forms: ClassVar[tuple[str, ...]] = ("contrastive", "cosine", "labels")

    def __init__(self, dim: int, target_dim: int, form: str = "contrastive") -> None:
        super().__init__()
        if form not in self.forms:
            raise InputError(f"expected a form of {', '.join(self.forms)}, got {shortened(form)}; choose one of them")
        self.form = form
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, target_dim)
        if form == "contrastive":
            self.log_scale = nn.Parameter(torch.tensor(math.log(INITIAL_SCALE)))

    def forward(self, y: Tensor, target: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            y: latents (B, dim, *grid).
            target: embeddings (B, E) of any frozen network; for "labels" the classes (B,), int64 from 0.

        Returns:
            A scalar.

        Raises:
            InputError: for targets of another shape or type.
        """
        labels = self.form == "labels"
        shape = (len(y),) if labels else (len(y), self.head.out_features)
        if target.shape != shape or target.is_floating_point() == labels:
            kind = "classes (int64)" if labels else "embeddings"
            raise InputError(f"expected {kind} of shape {shape} as target of {self.form}, got {described(target)}")
        with torch.autocast(y.device.type, enabled=False):
            outputs: Tensor = self.head(self.norm(y.float().flatten(2).mean(2)))
            if labels:
                return nn.functional.cross_entropy(outputs, target.long())
            embeddings, expected = (nn.functional.normalize(each, dim=1) for each in (outputs, target.float()))
            if self.form == "cosine":
                return 1 - (embeddings * expected).sum(1).mean()
            return self._contrastive(embeddings, expected)

    def _contrastive(self, embeddings: Tensor, expected: Tensor) -> Tensor:
        every, all_expected, first = embeddings, expected, 0
        if self.training:
            every, all_expected = ranks.gather(embeddings), ranks.gather(expected)
            first = ranks.rank() * len(expected)
        to_all, from_all = embeddings @ all_expected.T, expected @ every.T
        scale = self.log_scale.clamp(0, math.log(MAX_SCALE)).exp()
        labels = first + torch.arange(len(expected), device=expected.device)
        cross_entropy = nn.functional.cross_entropy
        return (cross_entropy(scale * to_all, labels) + cross_entropy(scale * from_all, labels)) / 2


class LatentReconstructionLoss(nn.Module):
    """Error e of a frozen codec's latents as eᵀ M e, with a metric M in which the loss of returning the means is 1.

    The authors of Re-Bottleneck weight the plain mean squared error, M = I, with 2.0. With another metric, such as
    that of the codec's decoder (`decoder_metric`), directions count as much as they matter to what is decoded. Since
    the loss is relative, its weight carries over between codecs.

    With nested dropout, the errors of items differ by orders of magnitude: those of which few channels are kept would
    decide alone, and latents of which all are kept would become worse. As a logarithm, the loss of each item is
    ln(1 + error / floor) / ln(1 + 1 / floor): every item counts by the ratio that its error falls by.

    Args:
        dim: channels D of the latents.
        floor: error below which it is not a ratio that counts; None for the mean error in place of logarithms.
    """

    root: Tensor

    def __init__(self, dim: int, floor: float | None = None) -> None:
        super().__init__()
        self.floor = floor
        self.register_buffer("root", torch.eye(dim) / math.sqrt(dim))

    def set_root(self, root: Tensor) -> None:
        """Set a matrix R (D, D) with R Rᵀ = M. Raises InputError unless it is finite and not 0."""
        if root.shape != self.root.shape or not root.isfinite().all() or not root.any():
            shape = tuple(self.root.shape)
            raise InputError(f"expected a finite metric {shape} of latents that vary, got {described(root)}")
        self.root.copy_(root)

    def forward(self, z: Tensor, target: Tensor) -> Tensor:
        """Loss between latents (B, D, *grid) and those of the codec, a scalar."""
        errors = self.errors(z, target)
        if self.floor is None:
            return errors.mean()
        return (errors / self.floor).log1p().mean() / math.log1p(1 / self.floor)

    def errors(self, z: Tensor, target: Tensor) -> Tensor:
        """The error (B,) of each item."""
        errors = (z.float() - target.float()).movedim(1, -1) @ self.root
        return errors.square().sum(-1).flatten(1).mean(1)


def _per_channel(y: Tensor) -> Tensor:
    """Latents (B, d, *grid) to (d, B N)."""
    return y.flatten(2).transpose(0, 1).flatten(1)


def _fourier(parameters: Tensor) -> Tensor:
    """Parameters (B, P) in [-1, 1] and sines and cosines of them, (B, P (1 + 2 OCTAVES))."""
    angles = torch.cat([parameters * (math.pi * 2.0**k / 2) for k in range(OCTAVES)], 1)
    return torch.cat([parameters, angles.sin(), angles.cos()], 1)
