"""The optimizer of all recipes: AdamW, with learning rates and weight decay by parameter."""

from collections.abc import Mapping

import torch
from torch import nn

from narrows.recipes.settings import AdamW


def adamw(module: nn.Module, settings: AdamW, lr_factors: Mapping[str, float] | None = None) -> torch.optim.AdamW:
    """AdamW for the trainable parameters of a module; each group holds its peak learning rate as `peak_lr`.

    Weights of more than one dimension decay. Biases, norms, gains and all other vectors do not.

    Args:
        module: Module to train.
        settings: Learning rate, moments and weight decay.
        lr_factors: Learning rates as fractions of the settings' by part of the parameter's name; the last part that
            fits counts. These parameters (linear transforms and gains, which are initialised well) do not decay.
    """
    factors = {"": 1.0, **(lr_factors or {})}
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            part = [part for part in factors if part in name][-1]
            decays = not part and sum(size > 1 for size in parameter.shape) > 1
            groups.setdefault((part, decays), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "peak_lr": settings.lr * factors[part],
                "weight_decay": settings.weight_decay if decays else 0.0,
            }
            for (part, decays), parameters in groups.items()
        ],
        lr=settings.lr,
        betas=settings.betas,
        fused=True,
    )
