import pytest
import torch

from narrows.codecs.layers.exact import ExactConv2d, ExactUpsample2d, compressed, snap
from narrows.errors import InputError


@pytest.mark.parametrize("layer", [ExactConv2d(5, 7, 3), ExactUpsample2d(5, 7)])
def test_results_do_not_depend_on_the_order_of_additions(layer: torch.nn.Module) -> None:
    layer.eval()
    x = 100 * torch.randn(3, 5, 6, 8)
    whole = layer(x)
    order = torch.randperm(5)
    axis = 1 if isinstance(layer, ExactConv2d) else 0
    shuffled = type(layer)(5, 7, 3) if isinstance(layer, ExactConv2d) else ExactUpsample2d(5, 7)
    shuffled.load_state_dict({"weight": layer.weight.detach().index_select(axis, order), "bias": layer.bias})
    assert whole.dtype == torch.float64
    assert torch.equal(shuffled.eval()(x[:, order]), whole)
    assert torch.equal(torch.cat([layer(item[None]) for item in x]), whole)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(layer(x), whole)


@pytest.mark.parametrize("layer", [ExactConv2d(5, 7, 3), ExactUpsample2d(5, 7)])
def test_training_computes_about_the_same_with_gradients(layer: torch.nn.Module) -> None:
    x = torch.randn(2, 5, 4, 4, requires_grad=True)
    y = layer.train()(x)
    y.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(layer.eval()(x).float(), y, atol=2e-2, rtol=0)


def test_numbers_are_snapped_and_cut() -> None:
    assert snap(torch.tensor([0.001, 0.003, 5e3])).tolist() == [0.0, 1 / 256, 1024.0]
    assert compressed(torch.tensor([-8.0, 0.0, 3.0])).tolist() == [-2.0, 0.0, 1.0]


def test_more_products_than_are_exact_are_refused() -> None:
    with pytest.raises(InputError, match="at most 32768"):
        ExactConv2d(8192, 1, 3)


def test_roots_are_snapped_alike_where_a_library_rounds_them_otherwise() -> None:
    """CPU libraries take some square roots of float64 to the neighbour of the nearest number."""
    steps = compressed(torch.arange(2**20 + 1).double() / 256) * 256
    assert ((steps - steps.floor() - 0.5).abs() > 256 * 2.0**-26).all()
