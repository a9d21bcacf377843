"""Causal transposed convolutions: those of torch without their end, whole and in pieces."""

import pytest
import torch
from torch import nn

from narrows.codecs.base import State
from narrows.codecs.layers.causal import Past
from narrows.codecs.layers.causal_upsampling import CausalTransposedConv
from narrows.errors import InputError


@pytest.mark.parametrize("size", [1, 3, 20])
@pytest.mark.parametrize(
    ("kernel", "stride", "groups", "bias"), [(8, 4, 1, True), (4, 2, 6, False), (3, 3, 2, True), (7, 2, 1, True)]
)
def test_pieces_equal_the_whole_of_torch(kernel: int, stride: int, groups: int, bias: bool, size: int) -> None:
    torch.manual_seed(0)
    layer = CausalTransposedConv(6, 12, kernel, stride, groups=groups, bias=bias)
    x = torch.randn(2, 6, 20)
    expected = nn.functional.conv_transpose1d(x, layer.weight, layer.bias, stride, groups=groups)[:, :, : 20 * stride]
    state, outputs = layer.start(2), []
    for piece in x.split(size, 2):
        before = state
        out, state = layer.step(piece, before)
        assert torch.equal(layer.step(piece, before)[0], out)  # a step changes no state
        assert state.kept.shape[2] == kernel - stride
        outputs.append(out)
    torch.testing.assert_close(torch.cat(outputs, 2), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(layer(x), expected, atol=1e-6, rtol=0)


def test_wrong_steps_and_sizes_are_named() -> None:
    layer = CausalTransposedConv(2, 2, 4, 2)
    with pytest.raises(InputError, match="expected the state of a convolution, got State"):
        layer.step(torch.zeros(1, 2, 1), State())
    with pytest.raises(InputError, match="expected the batch of earlier steps 3, got 1"):
        layer.step(torch.zeros(1, 2, 1), Past(torch.zeros(3, 2, 2)))
    with pytest.raises(InputError, match="expected kernel to be an integer from 4"):
        CausalTransposedConv(2, 2, 3, 4)
