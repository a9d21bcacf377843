"""Attention within a window: each position sees the keys of its window, however the signal is split."""

import pytest
import torch
from torch import Tensor, nn

from narrows.codecs.base import State
from narrows.codecs.layers.causal_transformer import PastKeys, TransformerLayer, WindowedAttention, rotated
from narrows.errors import InputError

WINDOW = 7


def made() -> TransformerLayer:
    torch.manual_seed(0)
    layer = TransformerLayer(12, 2, 20, WINDOW).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    return layer


def by_definition(attention: WindowedAttention, x: Tensor) -> Tensor:
    """One query after another, with absolute positions."""
    batch, _, count = x.shape
    q, k, v = attention.in_proj(x.transpose(1, 2)).view(batch, count, 3, attention.heads, -1).permute(2, 0, 3, 1, 4)
    q, k = rotated(q, torch.arange(count)), rotated(k, torch.arange(count))
    out = []
    for t in range(count):
        first = max(0, t + 1 - WINDOW)
        scores = (q[:, :, t : t + 1] @ k[:, :, first : t + 1].mT) / q.shape[-1] ** 0.5
        out.append(scores.softmax(-1) @ v[:, :, first : t + 1])
    return attention.out_proj(torch.cat(out, 2).transpose(1, 2).flatten(2)).transpose(1, 2)


@torch.no_grad()
def test_attention_is_that_of_its_definition() -> None:
    attention, x = made().self_attn, torch.randn(2, 12, 30, dtype=torch.float64)
    torch.testing.assert_close(attention(x), by_definition(attention, x), atol=1e-12, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("sizes", [[1] * 40, [3] * 13 + [1], [20, 20], [2, 30, 8], [WINDOW, 33]])
def test_pieces_equal_the_whole_beyond_the_window(sizes: list[int]) -> None:
    layer, x = made(), torch.randn(2, 12, 40, dtype=torch.float64)
    state, outputs = layer.start(2), []
    for piece in x.split(sizes, 2):
        before = state
        out, state = layer.step(piece, before)
        assert torch.equal(layer.step(piece, before)[0], out)  # a step changes no state
        outputs.append(out)
    torch.testing.assert_close(torch.cat(outputs, 2), layer(x), atol=1e-12, rtol=0)
    assert state.keys.shape == (2, 2, WINDOW - 1, 6)


@torch.no_grad()
def test_the_window_is_exact() -> None:
    layer, x = made(), torch.randn(1, 12, 30, dtype=torch.float64)
    other = x.clone()
    other[:, :, 10] = torch.randn(12)
    changed = (layer(other) != layer(x)).any(1).flatten().nonzero().flatten()
    assert changed.tolist() == list(range(10, 10 + WINDOW))


@torch.no_grad()
def test_a_window_of_one_keeps_no_keys() -> None:
    attention = WindowedAttention(4, 1, 1)
    out, state = attention.step(torch.randn(1, 4, 5), attention.start(1))
    assert out.shape == (1, 4, 5)
    assert state.keys.shape[2] == 0


def test_wrong_steps_and_sizes_are_named() -> None:
    attention = WindowedAttention(4, 1, 3)
    with pytest.raises(InputError, match="expected the state of an attention, got State"):
        attention.step(torch.zeros(1, 4, 1), State())
    with pytest.raises(InputError, match="expected the batch of earlier steps 2, got 1"):
        attention.step(torch.zeros(1, 4, 1), PastKeys(torch.zeros(2, 1, 2, 4), torch.zeros(2, 1, 2, 4)))
    with pytest.raises(InputError, match="expected channels that are a multiple of 2 × heads = 4, got 6"):
        WindowedAttention(6, 2, 3)
