import pytest
import torch

from narrows.codecs import (
    FSQ,
    VQ,
    EMACodebook,
    Gaussian,
    Nested,
    ResidualFSQ,
)
from narrows.errors import InputError


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


def test_a_frozen_outer_bottleneck_stays_in_eval_mode() -> None:
    bottleneck = Nested(Gaussian(6, 4).requires_grad_(False), FSQ(6, (5, 5)))
    bottleneck(torch.randn(2, 6, 5)).latents.sum().backward()
    assert all(p.grad is None for p in bottleneck.outer.parameters())
    assert all(p.grad is not None for p in bottleneck.inner.parameters())


def test_three_nested_bottlenecks() -> None:
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
