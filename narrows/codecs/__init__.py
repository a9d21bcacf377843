"""Networks: tensors in, tensors out. Importing this package registers every part.

Axes: B batch, C channels, T samples, F frames, D latent dim, K codebooks, V codebook size, H W image.
"""

from narrows.codecs.audio.frames import FrameDecoder, FrameEncoder
from narrows.codecs.bottlenecks.attention_projection import AttentionProjection
from narrows.codecs.bottlenecks.base import Bottleneck, Quantized
from narrows.codecs.bottlenecks.codebooks import Codebook, EMACodebook, LearnedCodebook, SimCodebook
from narrows.codecs.bottlenecks.estimators import Estimator, RotationTrick, StraightThrough
from narrows.codecs.bottlenecks.fsq import FSQ
from narrows.codecs.bottlenecks.grouped import Grouped, GroupedResidualVQ, MultiCodebook
from narrows.codecs.bottlenecks.ibq import IBQ
from narrows.codecs.bottlenecks.multi_rate import AtRate, MultiRateVQ
from narrows.codecs.bottlenecks.projection import Projection
from narrows.codecs.bottlenecks.residual import Residual, ResidualVQ
from narrows.codecs.bottlenecks.split import SplitResidualVQ
from narrows.codecs.bottlenecks.vq import VQ
from narrows.codecs.codec import Codec, Reconstruction

__all__ = [
    "FSQ",
    "IBQ",
    "VQ",
    "AtRate",
    "AttentionProjection",
    "Bottleneck",
    "Codebook",
    "Codec",
    "EMACodebook",
    "Estimator",
    "FrameDecoder",
    "FrameEncoder",
    "Grouped",
    "GroupedResidualVQ",
    "LearnedCodebook",
    "MultiCodebook",
    "MultiRateVQ",
    "Projection",
    "Quantized",
    "Reconstruction",
    "Residual",
    "ResidualVQ",
    "RotationTrick",
    "SimCodebook",
    "SplitResidualVQ",
    "StraightThrough",
]
