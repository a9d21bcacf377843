import pytest
import torch
import vector_quantize_pytorch as reference

from narrows.codecs import FSQ
from narrows.errors import InputError


@pytest.mark.parametrize("levels", [(8, 5, 5, 5), (8, 6, 5), (3, 3), (4, 4)])
def test_parity_with_vector_quantize_pytorch(levels: tuple[int, ...]) -> None:
    """Codes, latents and gradient, its settings being the defaults of one codebook with projections."""
    torch.manual_seed(0)
    ours, theirs = FSQ(6, levels).eval(), reference.FSQ(list(levels), dim=6).eval()
    theirs.project_in.load_state_dict(ours.project_in.state_dict())
    theirs.project_out.load_state_dict(ours.project_out.state_dict())
    a = (3 * torch.randn(2, 6, 500)).requires_grad_()
    b = a.detach().movedim(1, 2).requires_grad_()
    mine, (latents, codes) = ours(a), theirs(b)
    assert torch.equal(mine.codes[:, 0], codes)
    torch.testing.assert_close(mine.latents.movedim(1, 2), latents, atol=1e-6, rtol=0)
    weights = torch.randn_like(latents)
    (mine.latents.movedim(1, 2) * weights).sum().backward()
    (latents * weights).sum().backward()
    torch.testing.assert_close(a.grad.movedim(1, 2), b.grad, atol=1e-5, rtol=1e-5)  # type: ignore[union-attr]


def test_all_codes_are_reachable_and_distinct() -> None:
    fsq = FSQ(2, (5, 4), groups=1).eval()
    torch.nn.init.eye_(fsq.project_in.weight)
    torch.nn.init.eye_(fsq.project_out.weight)
    for layer in (fsq.project_in, fsq.project_out):
        torch.nn.init.zeros_(layer.bias)
    line = torch.linspace(-5, 5, 101)
    codes = fsq.encode(torch.cartesian_prod(line, line).T[None])
    assert codes.unique().tolist() == list(range(20))
    latents = fsq.decode(torch.arange(20).view(1, 1, -1))[0].T
    assert len(latents.unique(dim=0)) == 20
    assert latents.abs().max() <= 1


def test_indices_stay_exact_beyond_the_integers_of_float32() -> None:
    """17^6 codes are more than 2^24; see the index errors of float arithmetic there."""
    fsq = FSQ(6, (17,) * 6).eval()
    codes = torch.randint(17**6, (1, 1, 5000))
    values = torch.stack([codes[0, 0] // 17**i % 17 for i in range(6)])  # the digits, as levels
    latents = fsq.decode(codes)
    again = fsq._index(
        torch.linalg.solve(fsq.project_out.weight, latents[0] - fsq.project_out.bias[:, None])
        .T.mul(8)
        .round()[None, :, None]
    )
    assert torch.equal(again, codes)
    assert values.max() == 16
    assert fsq.radices == ((289, 289, 289),)


def test_dropped_groups_contribute_nothing() -> None:
    torch.manual_seed(0)
    fsq = FSQ(6, (5, 5), groups=4, dropout=1.0).train()
    z = torch.randn(64, 6, 3)
    quantized = fsq(z)
    kept = {round(bits / (3 * 2 * 2.321928)) for bits in quantized.bits.tolist()}
    assert kept == {1, 2, 3, 4}
    for item in range(8):
        books = round(float(quantized.bits[item]) / (3 * 2 * 2.321928))
        wanted = fsq.decode(quantized.codes[item : item + 1, :books])
        torch.testing.assert_close(quantized.latents[item : item + 1], wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("levels", "groups"), [((2, 5), 1), ((), 1), ((5,), 0), ((4096,) * 6, 1)])
def test_impossible_levels_are_refused(levels: tuple[int, ...], groups: int) -> None:
    with pytest.raises(InputError):
        FSQ(4, levels, groups)
