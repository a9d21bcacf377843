import pytest
import torch
import vector_quantize_pytorch as reference

from narrows.codecs import ResidualFSQ
from narrows.errors import InputError


@pytest.mark.parametrize(("levels", "stages"), [((5, 5), 3), ((8, 5, 3), 2), ((4, 4), 1)])
def test_parity_with_vector_quantize_pytorch(levels: tuple[int, ...], stages: int) -> None:
    """Codes and latents, its settings being its defaults (hard clamp, scales L^-k).

    The gradient is compared for one stage and inside its clamp: with K stages theirs is K times the straight-through
    gradient, since each stage adds its own, and it is 0 in the outer halves of the outer cells.
    """
    torch.manual_seed(0)
    ours = ResidualFSQ(6, levels, stages).eval()
    theirs = reference.ResidualFSQ(dim=6, levels=list(levels), num_quantizers=stages).eval()
    theirs.project_in.load_state_dict(ours.project_in.state_dict())
    theirs.project_out.load_state_dict(ours.project_out.state_dict())
    a = torch.randn(2, 6, 400, requires_grad=True)
    b = a.detach().movedim(1, 2).requires_grad_()
    mine, (latents, codes) = ours(a), theirs(b)
    assert torch.equal(mine.codes.movedim(1, -1), codes)
    torch.testing.assert_close(mine.latents.movedim(1, 2), latents, atol=1e-5, rtol=0)
    if stages == 1:
        weights = torch.randn_like(latents)
        (mine.latents.movedim(1, 2) * weights).sum().backward()
        (latents * weights).sum().backward()
        inside = (ours._bounded(a).abs() < 1).all(-1)  # type: ignore[arg-type]
        assert inside.float().mean() > 0.5
        torch.testing.assert_close(a.grad.movedim(1, 2)[inside], b.grad[inside], atol=1e-5, rtol=1e-5)  # type: ignore[union-attr, index]


def test_each_stage_makes_the_error_smaller_by_the_number_of_levels() -> None:
    bottleneck = ResidualFSQ(2, (4, 4), stages=4)
    for layer in (bottleneck.project_in, bottleneck.project_out):
        torch.nn.init.eye_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    z = torch.randn(1, 2, 4000)
    codes = bottleneck.eval().encode(z)
    target = bottleneck._bounded(z).movedim(-1, 1)
    errors = [(bottleneck.decode(codes[:, :k]) - target).abs().max().item() for k in (1, 2, 3, 4)]
    assert errors == pytest.approx([(4 / 3) / 4**k for k in (1, 2, 3, 4)], rel=0.1)


def test_dropped_stages_contribute_nothing() -> None:
    torch.manual_seed(0)
    bottleneck = ResidualFSQ(4, (5, 3), stages=3, dropout=1.0).train()
    quantized = bottleneck(torch.randn(32, 4, 5))
    books = (quantized.bits / (5 * 3.9068906)).round().long().tolist()
    assert set(books) == {1, 2, 3}
    for item, count in enumerate(books):
        wanted = bottleneck.decode(quantized.codes[item : item + 1, :count])
        torch.testing.assert_close(quantized.latents[item : item + 1], wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("levels", "stages"), [((1, 4), 2), ((17,), 6), ((2,), 23), ((5,), 0)])
def test_impossible_levels_are_refused(levels: tuple[int, ...], stages: int) -> None:
    with pytest.raises(InputError):
        ResidualFSQ(4, levels, stages)
