"""Long signals run in pieces with the result of the whole."""

import pytest
import torch
from torch import nn

from narrows.codecs.audio import encodec
from narrows.codecs.audio.encodec import EnCodecDecoder, EnCodecEncoder


def made(network: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.4)
    return network.double().eval()


@torch.no_grad()
@pytest.mark.parametrize("samples", [4000, 4001, 3337])
@pytest.mark.parametrize(("strides", "causal"), [((3, 2), True), ((3, 2), False), ((4, 2, 3), False), ((7,), True)])
def test_pieces_equal_the_whole(strides, causal, samples, monkeypatch) -> None:
    encoder = made(EnCodecEncoder(8, 4, strides, causal))
    decoder = made(EnCodecDecoder(8, 4, strides, causal))
    x = torch.randn(2, 1, samples, dtype=torch.float64)
    z = encoder(x)
    whole = decoder(z)
    monkeypatch.setattr(encodec, "PIECE", 1)  # the smallest pieces, of 8 times the context
    assert z.shape[2] > 3 * encodec._piece(encoder, encoder.stride[0])
    torch.testing.assert_close(encoder(x), z, atol=1e-10, rtol=0)
    torch.testing.assert_close(decoder(z), whole, atol=1e-10, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("causal", [True, False])
def test_the_context_is_what_the_layers_see(causal: bool) -> None:
    encoder, decoder = made(EnCodecEncoder(8, 4, (3, 2), causal)), made(EnCodecDecoder(8, 4, (3, 2), causal))
    before, after = encoder.layers[:-3], decoder.layers[2:]
    x = torch.randn(1, 1, 600, dtype=torch.float64)
    other = x.clone()
    other[..., 300:306] += 10
    seen = (before(x) != before(other)).any(1).flatten().nonzero().flatten() - 50
    assert -encoder.context <= seen.min() <= seen.max() <= encoder.context
    h = torch.randn(1, 16, 100, dtype=torch.float64)
    other = h.clone()
    other[..., 50] += 10
    seen = (after(h) != after(other)).any(1).flatten().nonzero().flatten() // 6 - 50
    assert -decoder.context <= seen.min() <= seen.max() <= decoder.context


def test_in_training_and_with_norms_over_time_signals_are_whole() -> None:
    for network in (EnCodecEncoder(8, 4, (3, 2)).train(), EnCodecDecoder(8, 4, (3, 2), False, True).eval()):
        assert encodec._piece(network, 6) > 10**12
