import torch

from narrows.codecs import LappedDecoder
from narrows.codecs.image.lapped import reflected


def test_the_default_decoder_is_shallow() -> None:
    """At most 45 000 operations per pixel, the entropy model included."""
    from torch.utils.flop_counter import FlopCounterMode

    from narrows.codecs import SpaceChannelContext

    model, decoder = SpaceChannelContext(), LappedDecoder()
    with FlopCounterMode(display=False) as count, torch.no_grad():
        decoder(torch.zeros(1, 320, 32, 48))
        model.train()(torch.zeros(1, 320, 32, 48))
    assert count.get_total_flops() / (512 * 768) < 45_000


def test_images_are_reflected_with_their_edge_pixels() -> None:
    x = torch.arange(12.0).view(1, 1, 3, 4)
    found = reflected(x, 2)[0, 0]
    assert found[2].tolist() == [1, 0, 0, 1, 2, 3, 3, 2]
    assert found[:, 2].tolist() == [4, 0, 0, 4, 8, 8, 4]
