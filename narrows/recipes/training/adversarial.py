"""Training with weighted losses and discriminators, which audio codecs and image tokenizers share.

x ──▶ codec ──▶ y ──▶ losses(y, x) + bottleneck losses + generator and feature matching losses ──▶ codec's weights
                └──▶ discriminators(x), discriminators(y) ──▶ discriminator loss ──▶ discriminators' weights
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn

from narrows.codecs.bottlenecks.ibq import IBQ
from narrows.codecs.codec import checked_quantized
from narrows.errors import InputError, described, shortened
from narrows.recipes.losses.adversarial import Features, hinge_discriminator_loss
from narrows.recipes.settings import Adversarial
from narrows.recipes.training.base import Recipe, Training
from narrows.recipes.training.optimizer import adamw

Losses = Mapping[str, tuple[float, nn.Module]]  # name → (weight, module)
BOTTLENECK_LOSS_WEIGHTS = {
    "commitment": 0.25,
    "codebook": 1.0,
    "joint": 1.0,
    "sample_entropy": 0.1,
    "diversity": 0.1,
    "kl": 1e-3,
    "norm": 1e-3,
    "orthogonal": 10.0,
}
IBQ_LOSS_WEIGHTS = {  # of the published objective (arXiv 2412.02692), whose β is the weight of 'codebook'
    "commitment": 1.0,
    "codebook": 0.25,
    "joint": 1.0,
    "sample_entropy": 0.05,
    "diversity": 0.05,
}
LINEAR_LAYERS = (".linear.", "project")  # parts of the names of their parameters
LOGGED = ("loss", "discriminator", "generator", "feature_matching", "adaptive_weight")  # names that losses cannot have


@dataclass(frozen=True, kw_only=True)
class AdversarialRecipe(Recipe):
    """A recipe with weighted losses, and with discriminators after a number of steps.

    Args:
        losses: Losses by name, each a weight and a module of the decoded and the original signal, (B, C, ...) both, to
            a scalar.
        bottleneck_loss_weights: Weights of the losses that the bottleneck returns, by name; for a bottleneck made of
            others ("semantic/commitment") by the last part of the name. If None, IBQ_LOSS_WEIGHTS for an IBQ and
            BOTTLENECK_LOSS_WEIGHTS for all others.
        discriminators: Modules that take a signal and return a list of features, the logits last.
        adversarial: Settings of discriminators and adversarial losses.
    """

    losses: Losses
    bottleneck_loss_weights: Mapping[str, float] | None = None
    discriminators: Sequence[nn.Module] = ()
    adversarial: Adversarial = field(default_factory=Adversarial)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_losses()
        for name, weight in (self.bottleneck_loss_weights or {}).items():
            if not _is_weight(weight):
                raise InputError(f"expected a number as bottleneck_loss_weights[{name!r}], got {shortened(weight)}")
        modules = self.discriminators
        if not isinstance(modules, Iterable) or not all(isinstance(each, nn.Module) for each in modules):
            raise InputError(f"expected discriminators to be a list of torch.nn.Module, got {shortened(modules)}")

    @property
    def other_losses(self) -> Losses:
        """Losses with other arguments than `losses` have."""
        return {}

    def check_losses(self) -> None:
        """Raise InputError unless all losses are pairs of a weight and a module, with names of their own."""
        if twice := sorted(set(self.losses) & set(self.other_losses)):
            raise InputError(f"expected losses of different names, got {twice[0]!r} twice; rename one")
        taken = {*LOGGED, *dir(nn.ModuleDict())}
        for name, loss in (*self.losses.items(), *self.other_losses.items()):
            if not isinstance(name, str) or not name or {*"./"} & {*name} or name in taken:
                raise InputError(
                    f"expected another name of a loss than {name!r}, which is reserved or has . or /; rename it"
                )
            if (
                not isinstance(loss, tuple | list)
                or len(loss) != 2
                or not _is_weight(loss[0])
                or not isinstance(loss[1], nn.Module)
            ):
                pair = "a pair of a weight and a torch.nn.Module, such as (1.0, nn.L1Loss())"
                raise InputError(f"expected the loss {name!r} to be {pair}, got {shortened(loss)}")


class AdversarialTraining(Training):
    """Trains an AdversarialRecipe, with one optimizer for the codec and one for the discriminators.

    Args:
        recipe: Recipe to train.
        latent_grid: Size of a small grid of latents, with which the names of the bottleneck's losses are determined.
        discriminator_start: First step at which discriminators are trained.
        linear_lr_fraction: Learning rate of linear paths and projections as a fraction of the codec's.

    Raises:
        InputError: If the bottleneck returns a loss that has no weight, or the name of another loss.
    """

    recipe: AdversarialRecipe

    def __init__(
        self,
        recipe: AdversarialRecipe,
        latent_grid: tuple[int, ...],
        discriminator_start: int,
        linear_lr_fraction: float = 1.0,
    ) -> None:
        super().__init__(recipe)
        self.losses, self.other_losses = _modules(recipe.losses), _modules(recipe.other_losses)
        self.discriminators = nn.ModuleList(recipe.discriminators)
        self._discriminators_lr: float | None = None  # fraction of the peak, while they wait for their step
        self._discriminator_start, self._linear_lr_fraction = discriminator_start, linear_lr_fraction
        given = recipe.bottleneck_loss_weights
        if given is None:
            given = IBQ_LOSS_WEIGHTS if isinstance(recipe.codec.bottleneck, IBQ) else BOTTLENECK_LOSS_WEIGHTS
        losses = (*recipe.losses.items(), *recipe.other_losses.items())
        self._weights = {**given} | {name: weight for name, (weight, _) in losses}
        self._check_bottleneck_losses(latent_grid)

    @property
    def trainable(self) -> nn.Module:
        """All modules that the codec's optimizer trains."""
        return self.codec

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """AdamW for the codec and, if there are any, for the discriminators."""
        settings = self.recipe.optimizer
        factors = dict.fromkeys(LINEAR_LAYERS, self._linear_lr_fraction)
        optimizers: list[torch.optim.Optimizer] = [adamw(self.trainable, settings, factors)]
        if self.discriminators:
            optimizers.append(adamw(self.discriminators, replace(settings, lr=self.recipe.adversarial.lr)))
        return optimizers

    def uses_discriminators(self, step: int) -> bool:
        """Whether discriminators are trained at a step."""
        return bool(self.discriminators) and step >= self._discriminator_start

    def values(self, losses: nn.ModuleDict, *inputs: Any) -> dict[str, Tensor]:
        """The scalars of losses of the same arguments, by name.

        Raises:
            InputError: For a loss that returns anything else than a scalar.
        """
        values = {}
        for name, loss in losses.items():
            value = values[name] = loss(*inputs)
            if not isinstance(value, Tensor) or value.ndim or not value.is_floating_point():
                raise InputError(
                    f"expected the loss {name!r} ({type(loss).__name__}) to return a floating-point tensor of "
                    f"shape (), got {described(value)}; return e.g. a mean"
                )
        return values

    def weighted_sum(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Sum of losses times their weights.

        Raises:
            InputError: For a loss without a weight.
        """
        return torch.stack([self._weight(name) * value for name, value in losses.items()]).sum()

    def update_discriminators(
        self, x: Tensor, y: Tensor, lr_fraction: float
    ) -> tuple[Tensor, list[Features], list[Features]]:
        """Compute the discriminators' gradients, and their features for the codec's losses.

        `update_codec` does their step, after the codec's: both are trained against the other's weights before the step,
        so that the batches of a step can be accumulated.

        Args:
            x: Original signals.
            y: Decoded signals of the same shape.
            lr_fraction: Learning rate as a fraction of its peak.

        Returns:
            The discriminator loss, and the features of x and of y. Gradients of the features reach y but not the
            discriminators.
        """
        real = self._features(x)
        loss = hinge_discriminator_loss(real, self._features(y.detach()))
        self.add_gradients(self._optimizers()[1], loss)
        self._discriminators_lr = lr_fraction
        self.discriminators.requires_grad_(False)
        fake = self._features(y)
        self.discriminators.requires_grad_(True)
        return loss, [[layer.detach() for layer in each] for each in real], fake

    def update_codec(self, loss: Tensor, logged: Mapping[str, Tensor], lr_fraction: float) -> None:
        """Finish a batch: optimizer steps of the codec and of discriminators with gradients, EMA update, logging."""
        self.update(self._optimizers()[0], loss, lr_fraction, self.trainable)
        if self._discriminators_lr is not None:
            self.step_optimizer(self._optimizers()[1], self._discriminators_lr, self.discriminators)
            self._discriminators_lr = None
        self.end_batch({"loss": loss, **logged})

    def _optimizers(self) -> list[Any]:
        optimizers: Any = self.optimizers()
        return optimizers if isinstance(optimizers, list) else [optimizers]

    def _weight(self, name: str) -> float:
        key = name.rsplit("/", 1)[-1]  # a bottleneck made of others returns names such as "semantic/commitment"
        if key not in self._weights:
            raise InputError(
                f"expected a weight for each loss, got none for {name!r} of the bottleneck; "
                f"add {key!r} to the recipe's bottleneck_loss_weights"
            )
        return self._weights[key]

    def _check_bottleneck_losses(self, latent_grid: tuple[int, ...]) -> None:
        """Run a copy of the bottleneck once, in training mode, to find losses without a weight before training."""
        bottleneck = copy.deepcopy(self.codec.bottleneck).train()
        with torch.random.fork_rng(devices=[]), torch.enable_grad():  # some losses need gradients
            z = torch.randn(2, bottleneck.dim, *latent_grid)
            for name in checked_quantized(bottleneck, z, bottleneck(z)).losses:
                self._weight(name)
                if name in self.losses or name in self.other_losses:
                    raise InputError(
                        f"expected losses of different names, got {name!r}, which the bottleneck has; rename it"
                    )

    def _features(self, x: Tensor) -> list[Features]:
        return [module(x) for module in self.discriminators]


def _is_weight(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and isfinite(value)


def _modules(losses: Losses) -> nn.ModuleDict:
    return nn.ModuleDict({name: module for name, (_, module) in losses.items()})
