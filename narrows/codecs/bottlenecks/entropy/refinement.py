"""Codes by closed loop: those of one input, better than its encoder's, for the same decoder.

    what stages are to code ─▶ rounded, each at its price in bits ─▶ decoder ─▶ slope and curvature of the distortion
              ▲──────────────── towards where the distortion would be least ──────────────┘

A proximal Newton method with a diagonal curvature (Lee, Sun and Saunders, arXiv 1206.1623): around the present values
the distortion is taken for a parabola in each of them, whose sum with the bits of that value is least at one of two
whole numbers. Curvatures of channels are estimated with one random probe (Hutchinson, 1990). Bits are what the tables
take; that a value also changes the tables of others is not foreseen, but counted: the best of all rounds is the result.
"""

from collections.abc import Callable, Sequence
from math import inf

import torch
from torch import Tensor

from narrows.codecs.bottlenecks.entropy.base import ZERO, EntropyModel, Stage, driven, thrifty

PACE = 0.5  # of the way to where the distortion would be least; half of that in the second half of the rounds
PROBE = 0.5  # rounding steps
APART = 2.0  # factor that curvatures of channels are at most from their median

Rounded = tuple[list[Tensor], list[Tensor], float]  # symbols and values of the stages, and bits


def refined(
    model: EntropyModel,
    y: Tensor,
    quality: int,
    distortion: Callable[[Tensor], Tensor],
    rounds: int,
    prices: Tensor,
) -> Tensor:
    """Codes (1, K, h, w) after so many rounds, from latents y (1, D, h, w); plain encoding's where none is better.

    distortion: what latents (1, D, h, w) cost beside their bits, in bits, with a gradient. prices: see
    `EntropyModel.encode`.
    """
    with torch.inference_mode(False), torch.enable_grad():
        share = torch.full((len(y),), float(quality), device=y.device)
        with torch.no_grad():
            targets = [target.double() for target in model.targets(y.clone(), share)]
        curvatures, best, least = list[Tensor | None](), list[Tensor](), inf
        for step in range(rounds + 1):
            symbols, values, bits = _rounded(model, targets, curvatures, quality, prices)
            leaves = [value.float().requires_grad_() for value in values]
            cost = distortion(model.latents(leaves, share))
            if bits + cost.item() < least:
                best, least = symbols, bits + cost.item()
            if step == rounds:
                break
            slopes = torch.autograd.grad(cost, leaves, allow_unused=True)
            if not curvatures:
                curvatures = _curvatures(model, leaves, slopes, share, distortion)
            pace = PACE if step < rounds / 2 else PACE / 2
            for index, (slope, curvature) in enumerate(zip(slopes, curvatures, strict=True)):
                if slope is not None and curvature is not None:
                    targets[index] += pace * (values[index] - slope / curvature - targets[index])
        return model.fold(best).long() + ZERO


@torch.no_grad()
def _rounded(
    model: EntropyModel,
    targets: Sequence[Tensor],
    curvatures: Sequence[Tensor | None],
    quality: int,
    prices: Tensor,
) -> Rounded:
    """Whole numbers for targets; without curvatures as plain encoding rounds."""
    found, values, bits, most = list[Tensor](), list[Tensor](), 0.0, prices.shape[1] - 1

    def coded(index: int, stage: Stage) -> Tensor:
        nonlocal bits

        def taken(away: Tensor) -> Tensor:
            return prices[stage.tables, away.clamp(max=most).long()]

        error, curvature = targets[index] - stage.mean, curvatures[index] if curvatures else None
        if curvature is None:
            symbols = model.rounded(error, stage, prices)
        else:
            symbols = thrifty(error.float(), lambda away: 2 / curvature * taken(away)).double()
        symbols = symbols.clamp(1 - ZERO, ZERO - 1)
        bits += float(taken(symbols.abs()).sum())
        found.append(symbols)
        values.append(stage.mean + symbols)
        return symbols

    batch, _, height, width = model.fold(targets).shape
    driven(model.stages((batch, height, width), quality), coded)
    return found, values, bits


def _curvatures(
    model: EntropyModel,
    leaves: Sequence[Tensor],
    slopes: Sequence[Tensor | None],
    share: Tensor,
    distortion: Callable[[Tensor], Tensor],
) -> list[Tensor | None]:
    """Second derivatives (1, c, 1, 1) of the distortion by the values of each stage; None where it does not matter."""
    chance = torch.Generator(share.device).manual_seed(0)
    signs = [torch.randint(0, 2, x.shape, generator=chance, device=x.device) * 2.0 - 1 for x in leaves]
    moved = [(x + PROBE * sign).detach().requires_grad_() for x, sign in zip(leaves, signs, strict=True)]
    beyond = torch.autograd.grad(distortion(model.latents(moved, share)), moved, allow_unused=True)
    found = [
        None if slope is None or after is None else ((after - slope) / PROBE * sign).mean((0, 2, 3), keepdim=True).abs()
        for slope, after, sign in zip(slopes, beyond, signs, strict=True)
    ]
    middle = torch.cat([each.flatten() for each in found if each is not None]).median()
    if not middle:  # nothing that a change of the values could spoil or mend
        return [None] * len(found)
    return [None if each is None else each.clamp(middle / APART, middle * APART) for each in found]
