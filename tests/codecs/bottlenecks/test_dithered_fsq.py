import pytest
import torch
import vector_quantize_pytorch as reference

from narrows.codecs import DitheredFSQ
from narrows.errors import InputError


def plain(levels: tuple[int, ...], **options: float) -> DitheredFSQ:
    """With projections that do nothing."""
    made = DitheredFSQ(len(levels), levels, **options)  # type: ignore[arg-type]
    for layer in (made.project_in, made.project_out):
        torch.nn.init.eye_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    return made


@pytest.mark.parametrize("levels", [(17, 9, 5), (4, 4), (8, 2, 3)])
def test_parity_with_vector_quantize_pytorch(levels: tuple[int, ...]) -> None:
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
def test_levels_lie_evenly_from_end_to_end(levels: int) -> None:
    decoded = plain((levels,)).eval().decode(torch.arange(levels).view(1, 1, -1))[0, 0]
    torch.testing.assert_close(decoded, torch.linspace(-1, 1, levels))


def test_training_mixes_noise_the_value_itself_and_rounding_by_item() -> None:
    torch.manual_seed(0)
    bottleneck = plain((5, 5), noise=0.5).train()
    z = torch.randn(4000, 2, 20)
    latents = bottleneck(z).latents
    error = (latents - z.tanh()).abs()
    on_grid = ((latents + 1) * 2 - ((latents + 1) * 2).round()).abs().amax((1, 2)) < 1e-5
    untouched = error.amax((1, 2)) < 1e-6
    assert on_grid.float().mean() == pytest.approx(0.25, abs=0.03)
    assert untouched.float().mean() == pytest.approx(0.25, abs=0.03)
    assert error.max() <= 0.25 + 1e-5  # half a step, rounded or noisy


@pytest.mark.parametrize(("noise", "expected"), [(0.0, True), (1.0, False)])
def test_noise_at_its_ends(noise: float, expected: bool) -> None:
    bottleneck = plain((5,), noise=noise).train()
    z = torch.randn(8, 1, 50)
    assert torch.equal(bottleneck(z).latents, bottleneck.eval()(z).latents) is expected


def test_impossible_settings_are_refused() -> None:
    for settings in ({"levels": (1, 5)}, {"noise": 1.5}, {"groups": 0}):
        with pytest.raises(InputError):
            DitheredFSQ(4, **settings)  # type: ignore[arg-type]
