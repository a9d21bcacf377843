import math

import pytest
import torch
from torch import Tensor, nn

from narrows.errors import InputError
from narrows.recipes.data import transform
from narrows.recipes.losses import AlignmentLoss, EquivarianceLoss, LatentMap, LatentReconstructionLoss

GRIDS = [(7,), (3, 5), (2, 3, 4)]
EQUALIZER = transform("audio", "equalizer", 16_000, (40,))


def parameters(batch: int, count: int) -> Tensor:
    return torch.rand(batch, count) * 2 - 1


def trained(modules: list[nn.Module], loss: nn.Module, batches: list[tuple[Tensor, ...]], steps: int) -> float:
    optimizer = torch.optim.Adam([p for module in modules for p in module.parameters()], 0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        optimizer.zero_grad()
        loss(*batches[step % len(batches)]).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return loss(*batches[0]).item()


@pytest.mark.parametrize("grid", GRIDS)
def test_a_latent_map_is_the_identity_at_initialisation(grid: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    latent_map, y = LatentMap(6, 2, 16), torch.randn(3, 6, *grid)
    assert torch.equal(latent_map(y, parameters(3, 2)), y)


@pytest.mark.parametrize("grid", GRIDS)
def test_a_latent_map_works_per_position_and_all_its_weights_learn(grid: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    latent_map, y, p = LatentMap(6, 2, 16), torch.randn(3, 6, *grid), parameters(3, 2)
    nn.init.normal_(latent_map.last.weight, std=0.3)
    mapped = latent_map(y, p)
    assert mapped.shape == y.shape
    assert (mapped - y).abs().max() > 0.1
    torch.testing.assert_close(latent_map(y, torch.zeros(3, 2)), y)  # parameters of 0
    order = torch.randperm(y.flatten(2).shape[2])
    permuted = latent_map(y.flatten(2)[:, :, order].view_as(y), p)
    torch.testing.assert_close(permuted.flatten(2), mapped.flatten(2)[:, :, order])
    torch.testing.assert_close(latent_map(y[1:2], p[1:2]), mapped[1:2])  # and per item
    mapped.square().mean().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in latent_map.parameters())


def test_a_map_learns_an_equaliser_in_a_basis_and_in_decibels_and_generalises() -> None:
    """y = B x of band amplitudes x times a factor per band, and y = B log x, with parameters unseen in training."""
    torch.manual_seed(0)
    basis = torch.linalg.qr(torch.randn(8, 8))[0] @ torch.diag(torch.linspace(0.5, 2, 8))
    bands = torch.randn(4, 8).abs() * 0.7

    def batch(logarithmic: bool) -> tuple[Tensor, ...]:
        p, x = parameters(64, 4), torch.randn(64, 8, 5)
        change = (p @ bands)[:, :, None]
        x_transformed = x + change if logarithmic else x * change.exp()
        return basis @ x, basis @ x_transformed, p

    for logarithmic in (False, True):
        loss = EquivarianceLoss(EQUALIZER, 8)
        batches = [batch(logarithmic) for _ in range(100)]
        start, unseen = loss(*batches[0]).item(), batch(logarithmic)
        trained([loss], loss, batches, 200)
        assert start > 0.05
        assert loss(*unseen).item() < 0.05 * start


@pytest.mark.parametrize("grid", GRIDS)
def test_equivariance_with_a_known_transform(grid: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    known = transform("audio", "shift", 16_000, (40,)) if len(grid) == 1 else transform("image", "flip", None, (4, 4))
    loss = EquivarianceLoss(known, 6)
    assert not list(loss.parameters())
    p = torch.tensor([[1.0] * known.count, [0.0] * known.count, [-0.25] * known.count])
    y = torch.randn(3, 6, *grid)
    transformed = torch.stack([known.latent(each, values.tolist()) for each, values in zip(y, p, strict=True)])  # type: ignore[misc]
    assert loss(y, transformed, p).item() == 0
    assert loss(y, torch.randn_like(y), p).item() == pytest.approx(2, abs=0.9)


def test_positions_that_a_shift_fills_are_left_out() -> None:
    torch.manual_seed(0)
    shift = transform("audio", "shift", 16_000, (40,))
    loss, y, p = EquivarianceLoss(shift, 6), torch.randn(2, 6, 12), torch.tensor([[0.25], [-0.5]])
    transformed = torch.stack([shift.latent(each, values.tolist()) for each, values in zip(y, p, strict=True)])  # type: ignore[misc]
    transformed[0, :, :2] = transformed[1, :, -4:] = 5  # latents of silence
    assert loss(y, transformed, p).item() == 0
    transformed[0, :, 2] += 1
    squares = 1 / (24 - 6) / transformed.transpose(0, 1).flatten(1).var(1, correction=0)
    torch.testing.assert_close(loss(y, transformed, p), squares.mean(), rtol=2e-3, atol=0)
    short = torch.randn(2, 6, 3)
    assert loss(short, short, torch.ones(2, 1)).item() == 0  # nothing is left


def test_the_equivariance_loss_does_not_pull_at_the_scale_of_latents() -> None:
    torch.manual_seed(0)
    loss = EquivarianceLoss(transform("image", "flip", None, (4, 4)), 5)
    y, other = (torch.randn(4, 5, 3, 3, requires_grad=True) for _ in range(2))
    p = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    value = loss(y, other, p)
    gradients = torch.autograd.grad(value, (y, other))
    assert all(gradient.abs().max() > 1e-4 for gradient in gradients)
    along_scale = sum((gradient * each).sum() for gradient, each in zip(gradients, (y, other), strict=True))
    assert abs(along_scale) < 1e-5
    torch.testing.assert_close(loss(1e-2 * y, 1e-2 * other, p), value, rtol=1e-4, atol=0)
    factors = torch.tensor([1.0, 1.0, 1.0, 1.0, 20.0]).view(5, 1, 1)  # a channel cannot hide the others
    torch.testing.assert_close(loss(factors * y, factors * other, p), value, rtol=0.1, atol=0)
    constant = torch.full((4, 5, 3, 3), 0.3, requires_grad=True)
    loss(constant, constant, p).backward()
    assert constant.grad is not None
    assert constant.grad.isfinite().all()


def test_an_encoder_becomes_equivariant_without_losing_scale() -> None:
    torch.manual_seed(0)
    flip = transform("image", "flip", None, (1, 1))
    x, p = torch.randn(32, 3, 6, 6), (torch.rand(32, 2) > 0.5).float()
    flipped = torch.stack([flip(each, values.tolist()) for each, values in zip(x, p, strict=True)])
    layers = (nn.Conv2d(3, 8, 3, padding=1), nn.GELU(), nn.Conv2d(8, 4, 3, padding=1))  # kernels are not symmetric
    encode, loss = nn.Sequential(*layers), EquivarianceLoss(flip, 4)

    def objective(x: Tensor, flipped: Tensor, p: Tensor) -> Tensor:
        value: Tensor = loss(encode(x), encode(flipped), p)
        return value

    before, scale = objective(x, flipped, p).item(), encode(x).std().item()
    after = trained([encode], objective, [(x, flipped, p)], 100)  # type: ignore[arg-type]
    assert after < 0.05 * before
    assert encode(x).std().item() > 0.5 * scale


@pytest.mark.parametrize("form", ["contrastive", "cosine", "labels"])
@pytest.mark.parametrize("grid", GRIDS)
def test_alignment_separates_classes(form: str, grid: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    classes, steps = torch.arange(24) % 4, 100
    signals = torch.randn(24, 10, *grid) + torch.eye(10)[classes].view(24, 10, *(1,) * len(grid))
    target = classes if form == "labels" else torch.randn(4, 6)[classes] + 0.1 * torch.randn(24, 6)
    encode, loss = nn.Linear(10, 5), AlignmentLoss(5, 4 if form == "labels" else 6, form)
    assert any(name == "log_scale" for name, _ in loss.named_parameters()) == (form == "contrastive")

    def objective(x: Tensor, target: Tensor) -> Tensor:
        value: Tensor = loss(encode(x.movedim(1, -1)).movedim(-1, 1), target)
        return value

    before = objective(signals, target).item()
    after = trained([encode, loss], objective, [(signals, target)], steps)  # type: ignore[arg-type]
    assert after < 0.65 * before
    with torch.no_grad():
        pooled = encode(signals.flatten(2).mean(2))
    means = torch.stack([pooled[classes == label].mean(0) for label in range(4)])
    assert (torch.cdist(pooled, means).argmin(1) == classes).float().mean() > 0.85
    assert objective(signals, target.roll(1, 0)).item() > 1.5 * after


def test_alignment_refuses_other_targets_and_forms() -> None:
    y = torch.randn(3, 5, 4)
    cases = [
        (
            "labels",
            torch.randn(3),
            r"expected classes \(int64\) of shape \(3,\) as target of labels, got torch.float32",
        ),
        ("labels", torch.zeros(3, 6, dtype=torch.int64), r"expected classes"),
        ("cosine", torch.randn(3, 7), r"expected embeddings of shape \(3, 6\) as target of cosine, got .*\(3, 7\)"),
        ("contrastive", torch.zeros(3, dtype=torch.int64), "expected embeddings"),
    ]
    for form, target, message in cases:
        with pytest.raises(InputError, match=message):
            AlignmentLoss(5, 6, form)(y, target)
    with pytest.raises(InputError, match="expected a form of contrastive, cosine, labels, got 'cosin'"):
        AlignmentLoss(5, 6, "cosin")


@pytest.mark.parametrize("grid", GRIDS)
def test_latent_reconstruction_has_a_metric(grid: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    z, root = torch.randn(64, 4, *grid), torch.randn(4, 4)
    loss = LatentReconstructionLoss(4)
    assert loss(z, z).item() == 0
    assert loss(torch.zeros_like(z), z).item() == pytest.approx(1, rel=0.1)
    loss.set_root(root)
    errors = torch.randn(64, 4, *grid)
    vectors = errors.movedim(1, -1).flatten(0, -2)
    wanted = (vectors @ (root @ root.T) * vectors).sum(1).mean()
    torch.testing.assert_close(loss(z + errors, z), wanted)
    assert [name for name, _ in loss.named_buffers()] == ["root"]
    errors = loss.errors(z + errors, z)
    assert errors.shape == (64,)
    logarithms = LatentReconstructionLoss(4, 0.01)
    assert logarithms(torch.zeros_like(z), z).item() == pytest.approx(1, rel=0.1)
    wanted = (1 + logarithms.errors(0.5 * z, z) / 0.01).log().mean() / math.log(101)
    torch.testing.assert_close(logarithms(0.5 * z, z), wanted)
    for wrong in (torch.zeros(4, 4), torch.full((4, 4), torch.nan), torch.ones(3, 3)):
        with pytest.raises(InputError, match=r"expected a finite metric \(4, 4\)"):
            loss.set_root(wrong)


def test_a_validation_waits_for_no_other_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(x: torch.Tensor) -> torch.Tensor:
        raise AssertionError("ranks may validate different numbers of batches")

    monkeypatch.setattr("narrows.recipes.losses.structure.ranks.gather", refuse)
    loss, y, target = AlignmentLoss(4, 3).eval(), torch.randn(5, 4, 6), torch.randn(5, 3)
    assert loss(y, target) > 0
    with pytest.raises(AssertionError, match="ranks may"):
        loss.train()(y, target)
