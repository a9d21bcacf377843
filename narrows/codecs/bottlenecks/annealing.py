"""Codes by descent: those of one input, better than its encoder's, for the same decoder.

what the stages code ─▶ between floor and ceiling, by annealed chance ─▶ bits, latents ─▶ distortion
        ▲─────────────────────── Adam: bits + distortion ──────────────────────────────────┘

Stochastic Gumbel annealing: Yang, Bamler and Mandt, arXiv 2006.04240, section 3.2. As in shallow-ntc (Yang and Mandt,
arXiv 2304.06244), floor and ceiling are those of the distance to the predicted mean.
"""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from narrows.codecs.bottlenecks.entropy_model import ZERO, EntropyModel, Stage, driven

HOTTEST, COLDEST = 0.8, 0.3  # temperatures at the first and the last step
PACE = 0.03  # learning rate, in rounding steps
BETAS = (0.9, 0.95)
INSIDE = 0.4  # rounding steps that numbers are at most away from the codes they begin with
LANDING = 0.3  # share of the steps, the last ones, in which the learning rate falls to zero
EDGE = 1e-4  # least chance, and least distance to a whole number: keeps logarithms finite


def descended(
    model: EntropyModel,
    y: Tensor,
    quality: int,
    distortion: Callable[[Tensor], Tensor],
    steps: int,
    prices: Tensor | None = None,
) -> Tensor:
    """Codes (1, K, h, w) after `steps` of descent from latents y (1, D, h, w).

    distortion: what latents (1, D, h, w) cost beside their bits, in bits, with a gradient. prices: see
    `EntropyModel.encode`. Chance has a fixed seed.
    """
    with torch.inference_mode(False), torch.enable_grad():
        softened = copy.deepcopy(model).train().requires_grad_(False)  # exact layers have gradients in training only
        share = torch.full((len(y),), float(quality), device=y.device)
        parts = [part.requires_grad_() for part in _begun(model, y, quality, share, prices)]
        adam = torch.optim.Adam(parts, PACE, betas=BETAS)
        annealing = Annealing(y.device)
        for step in range(steps):
            adam.param_groups[0]["lr"] = PACE * min(1.0, (1 - step / steps) / LANDING)
            annealing.temperature = HOTTEST * (COLDEST / HOTTEST) ** (step / steps)
            out = softened.learn(parts, share, annealing)
            slopes = torch.autograd.grad(out.bits.sum() + distortion(out.latents), parts)
            for part, slope in zip(parts, slopes, strict=True):
                part.grad = slope
            adam.step()
    return _coded(model, parts, quality)


class Annealing:
    """Softened rounding: of floor and ceiling, the nearer one is the likelier, and at low temperatures almost sure.

    The chance of each is proportional to exp(-atanh(distance) / temperature); a draw is relaxed at this temperature.
    """

    def __init__(self, device: torch.device) -> None:
        self.temperature = HOTTEST
        self._chance = torch.Generator(device).manual_seed(0)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Numbers to numbers between their floor and ceiling, the same for the rate and for all else."""
        low = x.detach().floor()
        above = (x - low).clamp(EDGE, 1 - EDGE)
        odds = (above.atanh() - (1 - above).atanh()) / self.temperature  # logarithm, of the ceiling
        drawn = torch.rand(x.shape, generator=self._chance, device=x.device).logit(EDGE)
        soft = low + ((odds + drawn) / self.temperature).sigmoid()
        return soft, soft


@torch.no_grad()
def _begun(model: EntropyModel, y: Tensor, quality: int, share: Tensor, prices: Tensor | None) -> list[Tensor]:
    """What the stages code, moved to where plain encoding rounds it, however near the border."""
    targets, parts = model.targets(y.clone(), share), list[Tensor]()

    def moved(index: int, stage: Stage) -> Tensor:
        error = targets[index].double() - stage.mean
        symbols = model.rounded(error, stage, prices)
        parts.append((stage.mean + symbols + (error - symbols).clamp(-INSIDE, INSIDE)).float())
        return symbols

    driven(model.stages((len(y), y.shape[2], y.shape[3]), quality), moved)
    return parts


@torch.no_grad()
def _coded(model: EntropyModel, parts: Sequence[Tensor], quality: int) -> Tensor:
    """Codes (B, K, h, w) of what the stages code, rounded to the nearest."""
    symbols, (batch, _, height, width) = list[Tensor](), model.fold(parts).shape

    def nearest(index: int, stage: Stage) -> Tensor:
        symbols.append((parts[index].double() - stage.mean).round().clamp(1 - ZERO, ZERO - 1))
        return symbols[-1]

    driven(model.stages((batch, height, width), quality), nearest)
    return model.fold(symbols).long() + ZERO
