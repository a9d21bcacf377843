import pytest
import torch
from torch import Tensor

from narrows.codecs import ContextGroups, FactorizedPrior, MeanScaleHyperprior, ScaleHyperprior
from narrows.codecs.bottlenecks.annealing import Annealing, descended
from narrows.codecs.bottlenecks.entropy_model import ZERO, EntropyModel


def models() -> list[EntropyModel]:
    torch.manual_seed(0)
    made = [ContextGroups((3, 5), 1, (8, 8)), MeanScaleHyperprior(8, 16), ScaleHyperprior(8, 16), FactorizedPrior(8)]
    for parameter in made[0].parameters():
        if not parameter.abs().sum():
            torch.nn.init.normal_(parameter, std=0.2)
    return [model.eval().requires_grad_(False) for model in made]


@torch.no_grad()
def bits_of(model: EntropyModel, codes: Tensor) -> float:
    stages = model.stages((1, *codes.shape[2:]), 0)
    stage, bits = next(stages), 0.0
    for index, symbols in enumerate(model.unfold((codes - ZERO).double())):
        bits += float(model.bits_of(symbols.float(), stage, index))
        try:
            stage = stages.send(symbols)
        except StopIteration:
            break
    return bits


@pytest.mark.parametrize("model", models(), ids=lambda model: type(model).__name__)
def test_descent_lowers_bits_and_distortion_together(model: EntropyModel) -> None:
    y = 2 * torch.randn(1, 8, 8, 12, generator=torch.Generator().manual_seed(1))

    def distortion(z: Tensor) -> Tensor:
        return 0.3 * (z - y).sum(1).square().sum()  # of channels together, as decoders have it

    plain, better = model.encode(y), descended(model, y, 0, distortion, 60)
    costs = [bits_of(model, codes) + float(distortion(model.decode(codes))) for codes in (plain, better)]
    assert costs[1] < costs[0]
    assert torch.equal(descended(model, y, 0, distortion, 60), better)
    assert not model.training


def test_side_information_takes_part() -> None:
    """Where z costs bits and helps nobody, it is not as the hyper-encoder made it."""
    model = MeanScaleHyperprior(8, 16).eval()
    with torch.no_grad():
        model.hyper_encoder[-1].bias.fill_(0.45)
        y = torch.zeros(1, 8, 8, 8)
        plain, better = model.encode(y), descended(model, y, 0, lambda z: z.square().sum(), 40)
    assert (plain[:, :1] != better[:, :1]).any()


def test_annealing_ends_at_the_nearest_whole_number() -> None:
    annealing = Annealing(torch.device("cpu"))
    x = torch.tensor([-1.0, 0.2, 0.5, 0.8]).expand(4000, 4).clone().requires_grad_()
    shares = []
    for annealing.temperature in (0.8, 0.05):
        soft, same = annealing(x)
        assert same is soft
        assert (soft >= x.floor()).all()
        assert (soft <= x.floor() + 1).all()
        shares.append((soft - x.floor()).mean(0))
    warm, cold = torch.stack(shares).detach()
    torch.testing.assert_close(cold, torch.tensor([0.0, 0.0, 0.5, 1.0]), atol=0.03, rtol=0)
    assert 0.05 < warm[1] < 0.45
    assert torch.autograd.grad(soft.sum(), x)[0].isfinite().all()
