from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from narrows.codecs.layers.exact import (
    ExactConv2d,
    ExactUpsample2d,
    convolve,
    convolve_transposed,
    quantize_activations,
    quantize_weights,
    signed_sqrt,
)
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


@pytest.mark.parametrize("layer", [ExactConv2d(5, 7, 3), ExactConv2d(5, 7, 1), ExactUpsample2d(5, 7)])
def test_matrix_products_are_bit_equal_to_convolutions(layer: torch.nn.Module) -> None:
    """The path of accelerators, run on the CPU, in several threads, at reduced float32 precision."""
    layer.eval()
    torch.nn.init.normal_(layer.weight, std=2.0)
    inputs = [300 * torch.randn(2, 5, 6 + index, 9) for index in range(4)]
    wanted = [layer(x) for x in inputs]

    def matrix_product(x: Tensor) -> Tensor:
        function = convolve_transposed if isinstance(layer, ExactUpsample2d) else convolve
        return function(quantize_activations(x), quantize_weights(layer.weight), quantize_weights(layer.bias))

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with ThreadPoolExecutor(4) as pool:
            for function in (matrix_product, layer):
                for found, expected in zip(pool.map(function, inputs * 4), wanted * 4, strict=True):
                    assert torch.equal(found, expected)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("layer", [ExactConv2d(64, 32, 3), ExactConv2d(64, 32, 1), ExactUpsample2d(64, 32)])
def test_a_gpu_gives_the_same_bits(layer: torch.nn.Module) -> None:
    layer.eval()
    x = 300 * torch.randn(2, 64, 33, 40)
    wanted = layer(x)
    assert torch.equal(layer.cuda()(x.cuda()).cpu(), wanted)


@pytest.mark.parametrize("layer", [ExactConv2d(5, 7, 3), ExactUpsample2d(5, 7)])
def test_training_computes_about_the_same_with_gradients(layer: torch.nn.Module) -> None:
    x = torch.randn(2, 5, 4, 4, requires_grad=True)
    y = layer.train()(x)
    y.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(layer.eval()(x).float(), y, atol=2e-2, rtol=0)


def test_activations_are_rounded_and_clamped() -> None:
    assert quantize_activations(torch.tensor([0.001, 0.003, 5e3])).tolist() == [0.0, 1 / 256, 1024.0]
    assert signed_sqrt(torch.tensor([-8.0, 0.0, 3.0])).tolist() == [-2.0, 0.0, 1.0]


def test_more_products_than_are_exact_raise() -> None:
    with pytest.raises(InputError, match="at most 32768"):
        ExactConv2d(8192, 1, 3)


def test_square_roots_with_a_wrong_last_bit_round_to_the_same_activation() -> None:
    """Some CPU libraries round float64 square roots to a neighbour of the nearest number."""
    steps = signed_sqrt(torch.arange(2**20 + 1).double() / 256) * 256
    assert ((steps - steps.floor() - 0.5).abs() > 256 * 2.0**-26).all()
