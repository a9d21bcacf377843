"""Networks: tensors in, tensors out. Importing this package registers every part.

Axes: B batch, C channels, T samples, F frames, D latent dim, K codebooks, V codebook size, H W image.
"""

from narrows.codecs.audio.frames import FrameDecoder, FrameEncoder
from narrows.codecs.bottlenecks.base import Bottleneck, Quantized
from narrows.codecs.bottlenecks.context_groups import ContextGroups
from narrows.codecs.bottlenecks.factorized import FactorizedPrior
from narrows.codecs.bottlenecks.fsq import FSQ
from narrows.codecs.bottlenecks.hyperprior import MeanScaleHyperprior, ScaleHyperprior
from narrows.codecs.bottlenecks.residual_vq import ResidualVQ
from narrows.codecs.codec import Codec, Reconstruction
from narrows.codecs.image.convolutional import ConvDecoder, ConvEncoder
from narrows.codecs.image.lapped import LappedDecoder, LappedEncoder
from narrows.codecs.image.shallow import LinearSynthesis, ShallowDecoder

__all__ = [
    "FSQ",
    "Bottleneck",
    "Codec",
    "ContextGroups",
    "ConvDecoder",
    "ConvEncoder",
    "FactorizedPrior",
    "FrameDecoder",
    "FrameEncoder",
    "LappedDecoder",
    "LappedEncoder",
    "LinearSynthesis",
    "MeanScaleHyperprior",
    "Quantized",
    "Reconstruction",
    "ResidualVQ",
    "ScaleHyperprior",
    "ShallowDecoder",
]
