from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import vector_quantize_pytorch as reference

from narrows.codecs import (
    FSQ,
    IBQ,
    LFQ,
    VQ,
    Bottleneck,
    EMACodebook,
    Gaussian,
    Grouped,
    GroupedResidualVQ,
    LearnedCodebook,
    Nested,
    Ordered,
    Residual,
    ResidualVQ,
    SplitResidualVQ,
    StraightThrough,
    Strided,
)
from narrows.codecs.base import Quantized
from narrows.codecs.bottlenecks import ordered, residual
from narrows.codecs.quantization.dropout import draw_kept
from narrows.errors import InputError


def test_each_codebook_finds_the_nearest_code_of_the_residual() -> None:
    torch.manual_seed(0)
    bottleneck = ResidualVQ(5, codebooks=3, entries=16, code_dim=4).eval()
    z = torch.randn(1, 5, 20)
    codes = bottleneck.encode(z)[0]
    rest = bottleneck.projection.down(z)[0]
    for k, stage in enumerate(bottleneck.stages):
        table = stage.codebook.table()
        assert torch.equal(torch.cdist(rest, table).argmin(1), codes[k])
        rest = rest - table[codes[k]]


def test_training_uses_the_codebooks_and_lowers_the_error() -> None:
    torch.manual_seed(0)
    bottleneck = ResidualVQ(4, codebooks=2, entries=32, code_dim=4, dropout=0.0).train()
    centres = torch.randn(64, 4)
    for _ in range(60):
        z = (centres[torch.randint(64, (256,))] + 0.05 * torch.randn(256, 4)).T[None]
        quantized = bottleneck(z)
    assert min(len(codebook.unique()) for codebook in quantized.codes[0]) > 16
    assert (quantized.latents - z).square().mean() < 0.05 * z.var()


def test_parity_with_vector_quantize_pytorch() -> None:
    """Codes, latents and gradient, its settings being two stages, rotation_trick off. Its latents carry the whole
    gradient once for each stage, ours once."""
    torch.manual_seed(0)
    stages = [VQ(6, EMACodebook(6, 32), StraightThrough()) for _ in range(2)]
    ours = Residual(6, stages, dropout=0.0).train()
    theirs = reference.ResidualVQ(dim=6, num_quantizers=2, codebook_size=32, rotation_trick=False)
    for one, other in zip(stages, theirs.layers, strict=True):
        assert isinstance(one.codebook, EMACodebook)
        one.codebook.initialized.fill_(True)
        other.codebook = one.codebook.vectors.clone()
    a = torch.randn(2, 6, 300).requires_grad_()
    b = a.detach().movedim(1, 2).requires_grad_()
    mine, (latents, codes, losses) = ours(a), theirs(b)
    assert torch.equal(mine.codes.movedim(1, -1), codes)
    torch.testing.assert_close(mine.latents.movedim(1, 2), latents, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(mine.losses["commitment"], losses.sum())
    weights = torch.randn_like(latents)
    (mine.latents.movedim(1, 2) * weights).sum().backward()
    (latents * weights).sum().backward()
    torch.testing.assert_close(2 * a.grad.movedim(1, 2), b.grad, atol=1e-5, rtol=1e-5)  # type: ignore[union-attr]


def test_the_gradient_does_not_grow_with_the_number_of_kept_stages() -> None:
    torch.manual_seed(0)
    stages = [VQ(4, EMACodebook(4, 16), StraightThrough()) for _ in range(4)]
    z = torch.randn(32, 4, 3, requires_grad=True)
    Residual(4, stages, dropout=1.0).train()(z).latents.sum().backward()
    torch.testing.assert_close(z.grad, torch.ones_like(z))


def test_dropout_is_drawn_per_item_and_dropped_stages_contribute_zeros() -> None:
    torch.manual_seed(0)
    bottleneck = ResidualVQ(4, codebooks=4, entries=16, code_dim=4, dropout=1.0).train()
    z = torch.randn(64, 4, 2)
    bottleneck(z)
    tables = [stage.codebook.table().clone() for stage in bottleneck.stages]
    quantized = bottleneck(z)
    codebooks = [round(bits / 8) for bits in quantized.bits.tolist()]
    assert sorted(set(codebooks)) == [1, 2, 3, 4]
    for item, count in enumerate(codebooks):
        wanted = sum(tables[k][quantized.codes[item, k]].T for k in range(count))
        torch.testing.assert_close(quantized.latents[item], wanted)


def test_dropout_draws_are_uniform_with_the_given_probability() -> None:
    torch.manual_seed(0)
    kept = draw_kept(20_000, 4, 0.4, torch.device("cpu"))
    fraction = torch.bincount(kept, minlength=5) / len(kept)
    torch.testing.assert_close(fraction, torch.tensor([0, 0.1, 0.1, 0.1, 0.7]), atol=0.01, rtol=0)
    state = torch.random.get_rng_state()
    assert draw_kept(3, 4, 0.0, torch.device("cpu")).tolist() == [4, 4, 4]
    assert torch.equal(torch.random.get_rng_state(), state)


def test_prefixes_end_after_stages() -> None:
    stages = [FSQ(6, (5, 5)), ResidualVQ(6, 2, 16, 4), VQ(6)]
    assert Residual(6, stages).prefixes == (1, 3, 4)
    assert Residual(6, stages, dropout=0.0).prefixes == (4,)
    assert GroupedResidualVQ(6, 3, 2).prefixes == (3, 6)


def test_groups_are_independent() -> None:
    torch.manual_seed(0)
    bottleneck = GroupedResidualVQ(8, groups=2, stages=2, entries=16, code_dim=4).eval()
    z = torch.randn(1, 8, 50)
    other = torch.cat([z[:, :4], torch.randn(1, 4, 50)], 1)
    same = (bottleneck.encode(z) == bottleneck.encode(other)).all(-1)[0]
    assert same.tolist() == [True, False, True, False]


@pytest.mark.parametrize(("codebooks", "entries"), [(0, 16), (2, 1)])
def test_invalid_sizes_raise(codebooks: int, entries: int) -> None:
    with pytest.raises(InputError):
        ResidualVQ(4, codebooks, entries)


@pytest.mark.parametrize("stages", [[], [1], [VQ(4), VQ(5)]])
def test_invalid_stages_raise(stages: list[VQ]) -> None:
    with pytest.raises(InputError, match="expected stages"):
        Residual(4, stages)


def test_a_prime_codebook_size_too_large_for_a_table_raises() -> None:
    with pytest.raises(InputError, match="product of factors"):
        ResidualVQ(4, 1, 4099).radices  # noqa: B018


def test_parameters_of_stages_get_their_whole_gradient() -> None:
    """Against a finite difference, where no code changes."""
    torch.manual_seed(0)
    residual = Residual(6, [VQ(6, EMACodebook(3, 16), StraightThrough()) for _ in range(4)], 0.0).eval()
    z, weights = torch.randn(2, 6, 5), torch.randn(2, 6, 5)
    (residual(z).latents * weights).sum().backward()
    bias = residual.stages[3].projection.up_map.bias
    with torch.no_grad():
        before = (residual(z).latents * weights).sum()
        bias[0] += 0.25
        after = (residual(z).latents * weights).sum()
    assert bias.grad[0].item() == pytest.approx(((after - before) / 0.25).item(), rel=2e-2)


def drop(monkeypatch: pytest.MonkeyPatch, kept: list[int]) -> None:
    """Let item number i keep `kept[i]` stages."""
    for module in (residual, ordered):
        monkeypatch.setattr(module, "draw_kept", lambda *_: torch.tensor(kept))


def identical(stages: list[Bottleneck]) -> Residual:
    return Residual(4, stages, dropout=1.0).train()


COMMITTED = {  # stages with a loss per item
    "ema": lambda: VQ(4, EMACodebook(4, 16), StraightThrough()),
    "learned": lambda: VQ(4, LearnedCodebook(4, 16)),
    "grouped": lambda: Grouped(4, [VQ(2, EMACodebook(2, 16)) for _ in range(2)]),
    "strided": lambda: Strided(VQ(2, EMACodebook(2, 16)), steps=2, stride=1),
    "nested": lambda: Nested(Gaussian(4, 3), VQ(4, EMACodebook(4, 16))),
    "split": lambda: SplitResidualVQ(VQ(4, EMACodebook(4, 16)), VQ(4, EMACodebook(4, 16))),
    "ibq": lambda: IBQ(4, 16, 4),
    "lfq": lambda: LFQ(4, 5),
}


@pytest.mark.parametrize("make", COMMITTED.values(), ids=COMMITTED)
@pytest.mark.parametrize("kind", [Residual, Ordered])
def test_losses_of_dropped_stages_do_not_count(
    make: Callable[[], Bottleneck], kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One item keeps one of three stages: its loss and its gradient are those of that stage alone."""
    torch.manual_seed(0)
    stages = [make() for _ in range(3)]
    whole = (identical(stages) if kind is Residual else Ordered(stages)).train()
    z = torch.randn(1, 4, 6, requires_grad=True)
    drop(monkeypatch, [3])
    whole(z)  # k-means initialisation
    before = {name: value.clone() for name, value in whole.state_dict().items()}
    results = []
    for run in (whole, stages[0].train()):
        drop(monkeypatch, [1])
        whole.load_state_dict(before)
        torch.manual_seed(1)
        losses = {name: value for name, value in run(z).losses.items() if not name.endswith("diversity")}
        assert losses
        scale = 3 if run is whole and kind is Ordered else 1  # means over the blocks
        (gradient,) = torch.autograd.grad(scale * sum(losses.values()), z, retain_graph=True)
        results.append((gradient, [scale * value.detach() for value in losses.values()]))
    torch.testing.assert_close(results[0], results[1])


class OwnLoss(FSQ):
    """A bottleneck of a user, with a loss of any shape."""

    def __init__(self, loss: torch.Tensor) -> None:
        super().__init__(4, (3, 3))
        self.loss = loss

    def forward(self, z: torch.Tensor) -> Quantized:
        return replace(super().forward(z), item_losses={"own": self.loss})


@pytest.mark.parametrize("compose", [lambda stage: Residual(4, [stage]), lambda stage: Ordered([stage])])
def test_losses_of_own_bottlenecks_are_scalars_or_one_an_item(
    compose: Callable[[Bottleneck], Bottleneck],
) -> None:
    z = torch.randn(3, 4, 5)
    for loss, mean in ((torch.tensor(2.0), 2.0), (torch.tensor([1.0, 2.0, 6.0]), 3.0)):
        assert compose(OwnLoss(loss))(z).losses["own"] == mean
    for wrong in (torch.ones(1), torch.ones(3, 3), torch.ones(2)):
        with pytest.raises(InputError, match=r"expected the loss 'own' as a scalar or of shape \(3,\)"):
            compose(OwnLoss(wrong))(z)


def test_losses_are_those_of_descript_audio_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    """Means over the batch of the masked losses of the items, added over the stages."""
    torch.manual_seed(0)
    stages = [VQ(4, LearnedCodebook(4, 16)) for _ in range(3)]
    bottleneck, z, kept = identical(stages), torch.randn(4, 4, 6), [1, 3, 2, 1]
    bottleneck(z)
    drop(monkeypatch, kept)
    expected, rest = torch.zeros(2), z
    for k, stage in enumerate(stages):
        stage.codebook.decay = 1.0  # the codes stay
        chosen = stage.decode(stage.encode(rest))
        of_items = (rest - chosen).square().mean((1, 2))
        expected = expected + (of_items * torch.tensor([count > k for count in kept])).mean()
        rest = rest - chosen
    found = bottleneck(z).losses
    torch.testing.assert_close(torch.stack([found["commitment"], found["codebook"]]).detach(), expected)
