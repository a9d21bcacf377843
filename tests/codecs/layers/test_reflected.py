"""Convolutions that are reflected at the ends: shapes, values, short signals."""

import pytest
import torch

from narrows.codecs.layers.reflected import ReflectedConv, ResidualLSTM, TrimmedTransposedConv, reflected
from narrows.errors import InputError


def test_reflections() -> None:
    x = torch.tensor([[[1.0, 2, 3, 4, 5]]])
    assert reflected(x, 2, 2).flatten().tolist() == [3, 2, 1, 2, 3, 4, 5, 4, 3]
    assert reflected(x, 0, 0) is x
    # A signal of 3 samples is lengthened to 00 and cut to 3 and its reflection again.
    assert reflected(x[..., :3], 4, 0).flatten().tolist() == [0, 0, 3, 2, 1, 2, 3]
    assert reflected(x[..., :1], 0, 2).flatten().tolist() == [1, 0, 0]


@pytest.mark.parametrize("group_norm", [False, True])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("kernel", "stride"), [(7, 1), (1, 1), (4, 2), (10, 5), (3, 3)])
@pytest.mark.parametrize("size", [1, 5, 23])
def test_there_is_an_output_for_each_stride(
    kernel: int, stride: int, size: int, causal: bool, group_norm: bool
) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, size)
    down = ReflectedConv(3, 4, kernel, stride, causal, group_norm)(x)
    assert down.shape == (2, 4, -(-size // stride))
    assert TrimmedTransposedConv(4, 3, stride, causal, group_norm)(down).shape == (2, 3, down.shape[2] * stride)


def test_causal_ones_look_back_only() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 3, 40)
    other = x.clone()
    other[..., 20:] += 1
    conv = ReflectedConv(3, 4, 4, 2, causal=True)
    assert torch.equal(conv(x)[..., :10], conv(other)[..., :10])
    up = TrimmedTransposedConv(3, 4, 2, causal=True)
    assert torch.equal(up(x)[..., :40], up(other)[..., :40])
    lstm = ResidualLSTM(3, 2)
    assert torch.equal(lstm(x)[..., :20], lstm(other)[..., :20])
    assert not torch.equal(lstm(x)[..., 20:], lstm(other)[..., 20:] - 1)


def test_kernels_below_the_stride_are_refused() -> None:
    with pytest.raises(InputError, match="expected kernel to be an integer from 4"):
        ReflectedConv(1, 1, 3, 4)
