"""The recipe of the full-band model."""

import torch

from narrows.recipes.audio import LEVELS, audio


def test_the_default_model_is_stereo_at_44_khz() -> None:
    codec = audio().codec
    assert (codec.channels, codec.stride) == (2, (1024,))
    assert codec.bottleneck.prefixes == tuple(range(1, 68))
    assert sum(map(len, LEVELS)) == codec.bottleneck.dim == 256
    assert 2e6 < sum(weights.numel() for weights in codec.parameters()) < 1e7


def test_levels_fall_from_codebook_to_codebook() -> None:
    levels = [level for group in LEVELS for level in group]
    assert levels == sorted(levels, reverse=True)


def test_a_source_on_one_side_stays_there() -> None:
    """Both channels have the same phases before Griffin-Lim, so that only their magnitudes differ."""
    torch.manual_seed(0)
    decoder = audio().codec.decoder
    magnitudes, spectra = decoder.by_channel(*decoder.predict(torch.randn(1, 256, 3)))
    left, right = spectra / magnitudes
    assert torch.allclose(left, right, atol=1e-4)
