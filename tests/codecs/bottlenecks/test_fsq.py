import pytest
import torch
import vector_quantize_pytorch as reference

from narrows.codecs import FSQ, DitheredFSQ, ResidualFSQ
from narrows.errors import InputError


@pytest.mark.parametrize("levels", [(8, 5, 5, 5), (8, 6, 5), (3, 3), (4, 4)])
def test_fsq_parity_with_vector_quantize_pytorch(levels: tuple[int, ...]) -> None:
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


def test_codes_are_exact_beyond_the_integers_of_float32() -> None:
    """17^6 codes are more than 2^24; see the index errors of float arithmetic there."""
    fsq = FSQ(6, (17,) * 6).eval()
    codes = torch.randint(17**6, (1, 1, 5000))
    values = torch.stack([codes[0, 0] // 17**i % 17 for i in range(6)])  # the digits, as levels
    latents = fsq.decode(codes)
    again = fsq._codes(
        torch.linalg.solve(fsq.project_out.weight, latents[0] - fsq.project_out.bias[:, None]).T.mul(8).round()[None]
    )
    assert torch.equal(again, codes)
    assert values.max() == 16
    assert fsq.radices == ((289, 289, 289),)


def test_dropped_groups_contribute_zeros() -> None:
    torch.manual_seed(0)
    fsq = FSQ(6, (5, 5), groups=4, dropout=1.0).train()
    z = torch.randn(64, 6, 3)
    quantized = fsq(z)
    kept = {round(bits / (3 * 2 * 2.321928)) for bits in quantized.bits.tolist()}
    assert kept == {1, 2, 3, 4}
    for item in range(8):
        kept_groups = round(float(quantized.bits[item]) / (3 * 2 * 2.321928))
        wanted = fsq.decode(quantized.codes[item : item + 1, :kept_groups])
        torch.testing.assert_close(quantized.latents[item : item + 1], wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("levels", "groups"), [((2, 5), 1), ((), 1), ((5,), 0), ((4096,) * 6, 1)])
def test_invalid_fsq_levels_raise(levels: tuple[int, ...], groups: int) -> None:
    with pytest.raises(InputError):
        FSQ(4, levels, groups)


def dithered(levels: tuple[int, ...], **options: float) -> DitheredFSQ:
    """With identity projections."""
    made = DitheredFSQ(len(levels), levels, **options)  # type: ignore[arg-type]
    for layer in (made.project_in, made.project_out):
        torch.nn.init.eye_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    return made


@pytest.mark.parametrize("levels", [(17, 9, 5), (4, 4), (8, 2, 3)])
def test_dithered_fsq_parity_with_vector_quantize_pytorch(levels: tuple[int, ...]) -> None:
    """Codes, latents and gradient, its settings: preserve_symmetry=True, no noise."""
    torch.manual_seed(0)
    ours, theirs = DitheredFSQ(6, levels).eval(), reference.FSQ(list(levels), dim=6, preserve_symmetry=True).eval()
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


@pytest.mark.parametrize("levels", [2, 5, 8, 17])
def test_dithered_levels_are_evenly_spaced(levels: int) -> None:
    decoded = dithered((levels,)).eval().decode(torch.arange(levels).view(1, 1, -1))[0, 0]
    torch.testing.assert_close(decoded, torch.linspace(-1, 1, levels))


def test_dithered_training_mixes_noise_unrounded_and_rounded_items() -> None:
    torch.manual_seed(0)
    bottleneck = dithered((5, 5), noise=0.5).train()
    z = torch.randn(4000, 2, 20)
    latents = bottleneck(z).latents
    error = (latents - z.tanh()).abs()
    on_grid = ((latents + 1) * 2 - ((latents + 1) * 2).round()).abs().amax((1, 2)) < 1e-5
    untouched = error.amax((1, 2)) < 1e-6
    assert on_grid.float().mean() == pytest.approx(0.25, abs=0.03)
    assert untouched.float().mean() == pytest.approx(0.25, abs=0.03)
    assert error.max() <= 0.25 + 1e-5  # half a step, rounded or noisy


@pytest.mark.parametrize(("noise", "expected"), [(0.0, True), (1.0, False)])
def test_noise_probability_zero_and_one(noise: float, expected: bool) -> None:
    bottleneck = dithered((5,), noise=noise).train()
    z = torch.randn(8, 1, 50)
    assert torch.equal(bottleneck(z).latents, bottleneck.eval()(z).latents) is expected


def test_invalid_dithered_fsq_arguments_raise() -> None:
    for arguments in ({"levels": (1, 5)}, {"noise": 1.5}, {"groups": 0}):
        with pytest.raises(InputError):
            DitheredFSQ(4, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(("levels", "stages"), [((5, 5), 3), ((8, 5, 3), 2), ((4, 4), 1)])
def test_residual_fsq_parity_with_vector_quantize_pytorch(levels: tuple[int, ...], stages: int) -> None:
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


def test_each_residual_fsq_stage_divides_the_error_by_the_number_of_levels() -> None:
    bottleneck = ResidualFSQ(2, (4, 4), stages=4)
    for layer in (bottleneck.project_in, bottleneck.project_out):
        torch.nn.init.eye_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    z = torch.randn(1, 2, 4000)
    codes = bottleneck.eval().encode(z)
    target = bottleneck._bounded(z).movedim(-1, 1)
    errors = [(bottleneck.decode(codes[:, :k]) - target).abs().max().item() for k in (1, 2, 3, 4)]
    assert errors == pytest.approx([(4 / 3) / 4**k for k in (1, 2, 3, 4)], rel=0.1)


def test_dropped_residual_fsq_stages_contribute_nothing() -> None:
    torch.manual_seed(0)
    bottleneck = ResidualFSQ(4, (5, 3), stages=3, dropout=1.0).train()
    quantized = bottleneck(torch.randn(32, 4, 5))
    kept_stages = (quantized.bits / (5 * 3.9068906)).round().long().tolist()
    assert set(kept_stages) == {1, 2, 3}
    for item, count in enumerate(kept_stages):
        wanted = bottleneck.decode(quantized.codes[item : item + 1, :count])
        torch.testing.assert_close(quantized.latents[item : item + 1], wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("levels", "stages"), [((1, 4), 2), ((17,), 6), ((2,), 23), ((5,), 0)])
def test_invalid_residual_fsq_levels_raise(levels: tuple[int, ...], stages: int) -> None:
    with pytest.raises(InputError):
        ResidualFSQ(4, levels, stages)
