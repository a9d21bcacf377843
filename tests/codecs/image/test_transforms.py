import pytest
import torch
from torch import nn

from narrows.codecs import (
    ConvDecoder,
    ConvEncoder,
    LappedDecoder,
    LappedEncoder,
    LinearSynthesis,
    ShallowDecoder,
)
from narrows.errors import InputError

ENCODERS = [ConvEncoder(8, 6), LappedEncoder(8, 6, 2, 1)]
DECODERS = [ConvDecoder(8, 6), LappedDecoder(8, 6, 2, 2, 1), LinearSynthesis(8), ShallowDecoder(8, 4)]


def awakened(module: nn.Module) -> nn.Module:
    """With weights that begin at zero set to something."""
    for parameter in module.parameters():
        if not parameter.abs().sum():
            nn.init.normal_(parameter, std=0.1)
    return module.double()


@pytest.mark.parametrize("encoder", ENCODERS)
def test_an_encoder_makes_a_grid_of_sixteenths_and_sees_no_farther_than_it_says(encoder: nn.Module) -> None:
    awakened(encoder)
    x = torch.randn(1, 3, 16 * 13, 32, dtype=torch.float64)
    z = encoder(x)
    assert z.shape == (1, 8, 13, 2)
    changed = x.clone()
    changed[:, :, 96:112] = torch.randn(1, 3, 16, 32, dtype=torch.float64)
    differs = (encoder(changed) != z).any(1).any(2)[0].nonzero().flatten()
    assert differs.min() >= 6 - encoder.reach
    assert differs.max() <= 6 + encoder.reach


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_decoder_gives_sixteen_pixels_a_position_and_sees_no_farther_than_it_says(decoder: nn.Module) -> None:
    awakened(decoder)
    z = torch.randn(1, 8, 13, 2, dtype=torch.float64)
    x = decoder(z)
    assert x.shape == (1, 3, 16 * 13, 32)
    changed = z.clone()
    changed[:, :, 6] = torch.randn(1, 8, 2, dtype=torch.float64)
    differs = (decoder(changed) != x).any(1).any(2)[0].nonzero().flatten() // 16
    assert differs.min() >= 6 - decoder.reach
    assert differs.max() <= 6 + decoder.reach


@pytest.mark.parametrize("encoder", ENCODERS)
def test_sides_that_are_no_blocks_are_refused(encoder: nn.Module) -> None:
    with pytest.raises(InputError, match="multiples of 16"):
        encoder(torch.zeros(1, 3, 16, 17))


def test_the_default_decoder_is_shallow() -> None:
    """At most 45 000 operations a pixel, the networks that choose tables included."""
    from torch.utils.flop_counter import FlopCounterMode

    from narrows.codecs import SpaceChannelContext

    model, decoder = SpaceChannelContext(), LappedDecoder()
    with FlopCounterMode(display=False) as count, torch.no_grad():
        decoder(torch.zeros(1, 320, 32, 48))
        model.train()(torch.zeros(1, 320, 32, 48))
    assert count.get_total_flops() / (512 * 768) < 45_000
