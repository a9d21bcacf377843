"""Discriminators: modules that take a signal or latents and return a list of features, the logits last.

MultiPeriodDiscriminator            audio folded by several periods (HiFi-GAN); a list of modules
MultiResolutionSTFTDiscriminator    complex spectrograms of audio (EnCodec); a list of modules
PatchGANDiscriminator               patches of images (pix2pix, VQGAN)
LatentDiscriminator                 latents of a codec of any medium (Re-Bottleneck)
audio_discriminators                the first two
"""

from torch import nn

from narrows.recipes.discriminators.latents import LatentDiscriminator
from narrows.recipes.discriminators.multi_period import MultiPeriodDiscriminator
from narrows.recipes.discriminators.multi_resolution_stft import MultiResolutionSTFTDiscriminator
from narrows.recipes.discriminators.patchgan import PatchGANDiscriminator

__all__ = [
    "LatentDiscriminator",
    "MultiPeriodDiscriminator",
    "MultiResolutionSTFTDiscriminator",
    "PatchGANDiscriminator",
    "audio_discriminators",
]


def audio_discriminators(width: int) -> list[nn.Module]:
    """Multi-period discriminators with half of `width` channels in the first layer, and multi-resolution ones."""
    return [*MultiPeriodDiscriminator(width=width // 2), *MultiResolutionSTFTDiscriminator(width=width)]
