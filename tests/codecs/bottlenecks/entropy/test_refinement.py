from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from narrows.codecs import FactorizedPrior, MeanScaleHyperprior, ScaleHyperprior, SpaceChannelContext
from narrows.codecs.bottlenecks.entropy.base import ZERO, EntropyModel
from narrows.codecs.bottlenecks.entropy.refinement import refine_codes


def models() -> list[EntropyModel]:
    torch.manual_seed(0)
    made = [
        SpaceChannelContext((3, 5), 1, (8, 8)),
        MeanScaleHyperprior(8, 16),
        ScaleHyperprior(8, 16),
        FactorizedPrior(8),
    ]
    for parameter in made[0].parameters():
        if not parameter.abs().sum():
            torch.nn.init.normal_(parameter, std=0.2)
    return [model.eval().requires_grad_(False) for model in made]


def bit_costs_of(model: EntropyModel) -> Tensor:
    """2 bits, and 1.5 more for each step away from zero."""
    return (2 + 1.5 * torch.arange(40.0)).expand(len(model.table_sizes), 40)


def cost_of(model: EntropyModel, codes: Tensor, distortion: Callable[[Tensor], Tensor]) -> float:
    away = (codes - ZERO).abs().clamp(max=39)
    return float((2 + 1.5 * away).sum() + distortion(model.decode(codes)))


@pytest.mark.parametrize("model", models(), ids=lambda model: type(model).__name__)
def test_refinement_lowers_bits_plus_distortion(model: EntropyModel) -> None:
    y = 2 * torch.randn(1, 8, 8, 12, generator=torch.Generator().manual_seed(1))
    mixed = torch.eye(8) + 0.3 * torch.randn(8, 8, generator=torch.Generator().manual_seed(2))

    def distortion(z: Tensor) -> Tensor:
        return (
            8 * torch.einsum("ij,bjhw->bihw", mixed, z - y).square().sum()
        )  # of channels together, as decoders have it

    bit_costs = bit_costs_of(model)
    plain = model.encode(y, 0, bit_costs)
    costs = [cost_of(model, plain, distortion)]
    for rounds in (3, 12):
        better = refine_codes(model, y, 0, distortion, rounds, bit_costs)
        assert torch.equal(refine_codes(model, y, 0, distortion, rounds, bit_costs), better)
        costs.append(cost_of(model, better, distortion))
    assert costs[2] <= costs[1] < 0.98 * costs[0]


def test_a_separable_quadratic_distortion_is_solved_in_one_iteration() -> None:
    """Where values do not matter to each other, every symbol is the best of the two next to its target."""
    model = FactorizedPrior(4).eval()
    y = 3 * torch.randn(1, 4, 6, 6, generator=torch.Generator().manual_seed(1))
    weights = torch.tensor([4.0, 5.0, 6.0, 7.0]).view(1, 4, 1, 1)
    codes = refine_codes(model, y, 0, lambda z: (weights * (z - y).square()).sum(), 1, bit_costs_of(model)) - ZERO
    near = y.round()
    less = near - near.sign()
    dearer = weights * (near - y).square() + 1.5 * near.abs() > weights * (less - y).square() + 1.5 * less.abs()
    best = torch.where(dearer & (near != 0), less, near)
    assert ((codes == best) | (codes == near)).all()
    assert (codes == best).float().mean() > 0.9


def test_without_distortion_codes_do_not_change() -> None:
    model = SpaceChannelContext((3, 5), 1, (8, 8)).eval()
    y, bit_costs = 2 * torch.randn(1, 8, 8, 8), bit_costs_of(model)
    assert torch.equal(refine_codes(model, y, 0, lambda z: 0 * z.sum(), 3, bit_costs), model.encode(y, 0, bit_costs))
