import pytest
import torch

from narrows.codecs.layers.local_attention import LocalAttention
from narrows.errors import InputError


def test_positions_see_their_window_alone():
    torch.manual_seed(0)
    layer, x = LocalAttention(128, 5).double().eval(), torch.randn(2, 128, 20, dtype=torch.float64)
    for place in (0, 4, 5, 13):
        other = x.clone()
        other[..., place] += 1
        changed = (layer(other) != layer(x)).any(0).any(0).nonzero().flatten().tolist()
        assert changed == [place // 5 * 5 + i for i in range(5)]


def test_order_counts_within_a_window():
    layer, x = LocalAttention(64, 4).eval(), torch.randn(1, 64, 4)
    assert not torch.allclose(layer(x.flip(2)).flip(2), layer(x), atol=1e-4)


def test_channels_are_those_of_whole_heads():
    with pytest.raises(InputError, match="expected attention over a multiple of 64 channels, got 100"):
        LocalAttention(100, 4)
