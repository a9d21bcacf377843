import pytest
import torch

from narrows.codecs import FSQ, LFQ, VQ, EMACodebook, Gaussian, Nested, Ordered, ResidualFSQ, Rounding
from narrows.errors import InputError


def test_items_keep_a_prefix_of_the_blocks_and_its_bits() -> None:
    torch.manual_seed(0)
    bottleneck = Ordered([FSQ(4, (5, 5)) for _ in range(3)]).train()
    quantized = bottleneck(torch.randn(64, 4, 3))
    kept = (quantized.bits / (3 * 2 * 2.321928)).round().long().tolist()
    assert set(kept) == {1, 2, 3}
    for item, blocks in enumerate(kept):
        wanted = bottleneck.decode(quantized.codes[item : item + 1, :blocks])
        torch.testing.assert_close(quantized.latents[item : item + 1], wanted, atol=1e-6, rtol=0)


def test_dropped_blocks_get_no_gradient() -> None:
    torch.manual_seed(1)
    bottleneck = Ordered([FSQ(4, (5, 5)) for _ in range(3)]).train()
    quantized = bottleneck(torch.randn(1, 4, 3))
    quantized.latents.sum().backward()
    kept = round(quantized.bits.item() / (3 * 2 * 2.321928))
    assert kept < 3
    gradients = [block.project_in.weight.grad.abs().sum().item() > 0 for block in bottleneck.blocks]  # type: ignore
    assert gradients == [i < kept for i in range(3)]


def test_prefixes_are_those_of_the_blocks_and_within_them() -> None:
    blocks = [FSQ(4, (5, 3), groups=2), ResidualFSQ(4, (3, 3), stages=3), LFQ(4, 5)]
    assert Ordered(blocks).prefixes == (2, 3, 4, 5, 6)
    assert Ordered(blocks, dropout=0.0).prefixes == (6,)


def test_continuous_blocks_have_prefixes_without_codes() -> None:
    torch.manual_seed(0)
    bottleneck = Ordered([Gaussian(4, 1) for _ in range(3)]).eval()
    z = torch.randn(2, 4, 5)
    assert bottleneck(z).codes is None
    assert torch.equal(bottleneck.prefix(z, 3), bottleneck(z).latents)
    assert not torch.equal(bottleneck.prefix(z, 1), bottleneck.prefix(z, 2))
    assert bottleneck(z).losses["kl"] > 0
    with pytest.raises(InputError, match="give it rounding"):
        bottleneck.encode(z)
    with pytest.raises(InputError, match="give it rounding"):
        bottleneck.decode(torch.zeros(1, 1, 1).long())
    with pytest.raises(InputError, match="blocks to be an integer from 1 to 3, got 4"):
        bottleneck.prefix(z, 4)


def test_a_prefix_of_codes_is_the_prefix_of_blocks() -> None:
    torch.manual_seed(0)
    bottleneck = Ordered([Gaussian(4, 2, Rounding()), FSQ(4, (5, 3)), LFQ(4, 4)]).eval()
    z = torch.randn(2, 4, 5)
    codes = bottleneck.encode(z)
    for blocks, books in enumerate(bottleneck.prefixes, 1):
        torch.testing.assert_close(bottleneck.decode(codes[:, :books]), bottleneck.prefix(z, blocks))


def test_unfit_blocks_are_refused() -> None:
    for blocks in ([], [FSQ(4, (5, 5)), FSQ(5, (5, 5))], [FSQ(4, (5, 5)), Gaussian(4, 2)], [torch.nn.Linear(4, 4)]):
        with pytest.raises(InputError):
            Ordered(blocks)  # type: ignore[arg-type]


def test_nested_codes_are_the_inner_ones_of_the_outer_latents() -> None:
    torch.manual_seed(0)
    outer, inner = Gaussian(6, 4), ResidualFSQ(6, (5, 5), stages=2)
    bottleneck, z = Nested(outer, inner).eval(), torch.randn(2, 6, 5)
    assert torch.equal(bottleneck.encode(z), inner.encode(outer(z).latents))
    assert bottleneck.prefixes == (1, 2)
    assert set(bottleneck.train()(z).losses) == {"outer/kl"}
    with pytest.raises(InputError, match="got Linear, FSQ and frozen=False"):
        Nested(torch.nn.Linear(4, 4), FSQ(4, (5, 5)))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="of one dim, got 4 and 6"):
        Nested(FSQ(4, (5, 5)), inner)


def test_a_frozen_outer_bottleneck_stays_as_it_is() -> None:
    bottleneck = Nested(Gaussian(6, 4).requires_grad_(False), FSQ(6, (5, 5)))
    bottleneck(torch.randn(2, 6, 5)).latents.sum().backward()
    assert all(p.grad is None for p in bottleneck.outer.parameters())
    assert all(p.grad is not None for p in bottleneck.inner.parameters())


def test_three_deep() -> None:
    torch.manual_seed(0)
    deep = Nested(Nested(Gaussian(4, 3), Gaussian(4, 2)), FSQ(4, (5, 3)))
    z = torch.randn(1, 4, 6)
    assert torch.equal(deep.eval().decode(deep.encode(z)), deep(z).latents)


def test_a_frozen_outer_bottleneck_does_not_change() -> None:
    torch.manual_seed(0)
    outer = VQ(6, EMACodebook(6, 16))
    outer.train()(torch.randn(2, 6, 50))
    before = {name: value.clone() for name, value in outer.state_dict().items()}
    bottleneck = Nested(outer, FSQ(6, (5, 5)), frozen=True).train()
    z = torch.randn(2, 6, 50, requires_grad=True)
    bottleneck(z).latents.sum().backward()
    assert z.grad is not None
    assert not outer.training
    assert bottleneck.inner.training
    assert all(torch.equal(value, before[name]) for name, value in outer.state_dict().items())
