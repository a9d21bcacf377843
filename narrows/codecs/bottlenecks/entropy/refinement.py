"""Encoder-side search for better codes of one input; the decoder is unchanged.

    values of the stages ─▶ RDO rounding at the tables' bit costs ─▶ decoder ─▶ gradient and curvature of the distortion
              ▲──────────────── step towards the minimum of the distortion ────────────────┘

The search is a proximal Newton method with a diagonal Hessian (Lee, Sun and Saunders, arXiv 1206.1623): around the
current values the distortion is approximated by a parabola in each value. The sum of the parabola and the bits of that
value is lowest at one of two integers. Curvatures, one per channel, are estimated with one random probe (Hutchinson,
1990). Bits are computed from the frequency tables. A value also changes the tables of later values: the step ignores
this, but the total cost of each iteration is computed with it, and the best iteration is the result.
"""

from collections.abc import Callable, Sequence
from math import inf

import torch
from torch import Tensor

from narrows.codecs.bottlenecks.entropy.base import ZERO, EntropyModel, Stage, rdo_round, run_stages

STEP = 0.5  # fraction of the way to the minimum of the distortion; halved in the second half of the iterations
PROBE = 0.5  # rounding steps
CURVATURE_RANGE = 2.0  # largest ratio of a channel's curvature to the median, and of the median to it

Rounded = tuple[list[Tensor], list[Tensor], float]  # symbols and values of the stages, and bits


def refine_codes(
    model: EntropyModel,
    y: Tensor,
    quality_index: int,
    distortion: Callable[[Tensor], Tensor],
    iterations: int,
    bit_costs: Tensor,
) -> Tensor:
    """Search for codes with a lower sum of bits and distortion than the codes of `model.encode`.

    Args:
        model: entropy model in eval mode.
        y: the encoder's latents (1, D, h, w).
        quality_index: 0 to `model.qualities` - 1.
        distortion: differentiable function of decoded latents (1, D, h, w), in units of one bit.
        iterations: Newton steps; each runs the decoder forward and backward.
        bit_costs: bits of symbols, see `EntropyModel.encode`.

    Returns:
        The best codes (1, K, h, w) of all iterations; the codes of `model.encode` if none are better.
    """
    with torch.inference_mode(False), torch.enable_grad():
        qualities = torch.full((len(y),), float(quality_index), device=y.device)
        with torch.no_grad():
            targets = [target.double() for target in model.targets(y.clone(), qualities)]
        curvatures, best, least = list[Tensor | None](), list[Tensor](), inf
        for iteration in range(iterations + 1):
            symbols, values, bits = _round(model, targets, curvatures, quality_index, bit_costs)
            leaves = [value.float().requires_grad_() for value in values]
            cost = distortion(model.latents(leaves, qualities))
            if bits + cost.item() < least:
                best, least = symbols, bits + cost.item()
            if iteration == iterations:
                break
            gradients = torch.autograd.grad(cost, leaves, allow_unused=True)
            if not curvatures:
                curvatures = _curvatures(model, leaves, gradients, qualities, distortion)
            step = STEP if iteration < iterations / 2 else STEP / 2
            for index, (gradient, curvature) in enumerate(zip(gradients, curvatures, strict=True)):
                if gradient is not None and curvature is not None:
                    targets[index] += step * (values[index] - gradient / curvature - targets[index])
        return model.fold(best).long() + ZERO


@torch.no_grad()
def _round(
    model: EntropyModel,
    targets: Sequence[Tensor],
    curvatures: Sequence[Tensor | None],
    quality_index: int,
    bit_costs: Tensor,
) -> Rounded:
    """Round the targets; if there are no curvatures, as `model.encode` does."""
    found, values, bits, largest = list[Tensor](), list[Tensor](), 0.0, bit_costs.shape[1] - 1

    def rounded(index: int, stage: Stage) -> Tensor:
        nonlocal bits

        def bits_of(magnitude: Tensor) -> Tensor:
            return bit_costs[stage.tables, magnitude.clamp(max=largest).long()]

        error, curvature = targets[index] - stage.mean, curvatures[index] if curvatures else None
        if curvature is None:
            symbols = model.round(error, stage, bit_costs)
        else:
            symbols = rdo_round(error.float(), lambda magnitude: 2 / curvature * bits_of(magnitude)).double()
        symbols = symbols.clamp(1 - ZERO, ZERO - 1)
        bits += float(bits_of(symbols.abs()).sum())
        found.append(symbols)
        values.append(stage.mean + symbols)
        return symbols

    batch, _, height, width = model.fold(targets).shape
    run_stages(model.stages((batch, height, width), quality_index), rounded)
    return found, values, bits


def _curvatures(
    model: EntropyModel,
    leaves: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    qualities: Tensor,
    distortion: Callable[[Tensor], Tensor],
) -> list[Tensor | None]:
    """Second derivatives (1, c, 1, 1) of the distortion by the values of each stage.

    None for a stage on which the distortion does not depend.
    """
    generator = torch.Generator(qualities.device).manual_seed(0)
    signs = [torch.randint(0, 2, x.shape, generator=generator, device=x.device) * 2.0 - 1 for x in leaves]
    moved = [(x + PROBE * sign).detach().requires_grad_() for x, sign in zip(leaves, signs, strict=True)]
    moved_gradients = torch.autograd.grad(distortion(model.latents(moved, qualities)), moved, allow_unused=True)
    found = [
        None
        if before is None or after is None
        else ((after - before) / PROBE * sign).mean((0, 2, 3), keepdim=True).abs()
        for before, after, sign in zip(gradients, moved_gradients, signs, strict=True)
    ]
    median = torch.cat([curvature.flatten() for curvature in found if curvature is not None]).median()
    if not median:  # the distortion does not depend on the values
        return [None] * len(found)
    low, high = median / CURVATURE_RANGE, median * CURVATURE_RANGE
    return [None if curvature is None else curvature.clamp(low, high) for curvature in found]
