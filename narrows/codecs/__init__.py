"""Networks: tensors in, tensors out. Importing this package registers every part.

Axes: B batch, C channels, T samples, F frames, D latent dim, K codebooks, V codebook size, H W image.
"""

from narrows.codecs.audio.frames import FrameDecoder, FrameEncoder
from narrows.codecs.bottlenecks.ard import ARD
from narrows.codecs.bottlenecks.base import Bottleneck, Quantized
from narrows.codecs.bottlenecks.continuous import SoftNorm, Tanh
from narrows.codecs.bottlenecks.dithered_fsq import DitheredFSQ
from narrows.codecs.bottlenecks.fsq import FSQ
from narrows.codecs.bottlenecks.gaussian import Gaussian
from narrows.codecs.bottlenecks.lookup_free import BSQ, LFQ
from narrows.codecs.bottlenecks.nested import Nested
from narrows.codecs.bottlenecks.ordered import Ordered
from narrows.codecs.bottlenecks.residual_fsq import ResidualFSQ
from narrows.codecs.bottlenecks.residual_vq import ResidualVQ
from narrows.codecs.bottlenecks.rounding import Rounding
from narrows.codecs.codec import Codec, Reconstruction

__all__ = [
    "ARD",
    "BSQ",
    "FSQ",
    "LFQ",
    "Bottleneck",
    "Codec",
    "DitheredFSQ",
    "FrameDecoder",
    "FrameEncoder",
    "Gaussian",
    "Nested",
    "Ordered",
    "Quantized",
    "Reconstruction",
    "ResidualFSQ",
    "ResidualVQ",
    "Rounding",
    "SoftNorm",
    "Tanh",
]
