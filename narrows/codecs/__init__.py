"""Networks: tensors in, tensors out. Importing this package registers every part.

Axes: B batch, C channels, T samples, F frames, D latent dim, K codebooks, V codebook size, H W image.
"""

from narrows.codecs.audio.frames import FrameDecoder, FrameEncoder
from narrows.codecs.bottlenecks.base import Bottleneck, Quantized
from narrows.codecs.bottlenecks.fsq import FSQ
from narrows.codecs.bottlenecks.residual_vq import ResidualVQ
from narrows.codecs.codec import Codec, Reconstruction

__all__ = ["FSQ", "Bottleneck", "Codec", "FrameDecoder", "FrameEncoder", "Quantized", "Reconstruction", "ResidualVQ"]
