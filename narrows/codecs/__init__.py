"""Networks, from tensors to tensors. Importing this package registers all parts.

Axes: B batch, C channels, T samples, F frames, D latent dim, K codebooks, V codebook size, H W image.

Codec                  encoder, bottleneck and decoder; its `forward` returns a Reconstruction
Encoder, Decoder       base classes; State: of a causal part between two steps
Bottleneck, Quantized  base class, and what it returns

Encoders and decoders
    audio   FrameEncoder, FrameDecoder: STFT frames; DACEncoder, DACDecoder; EnCodecEncoder, EnCodecDecoder;
            MimiEncoder, MimiDecoder: causal in time, they start and step
            LogMelEncoder; VocosDecoder, AdaptiveVocosDecoder, WavTokenizerDecoder; BigCodecEncoder, BigCodecDecoder;
            XCodec2Encoder with W2VBert, XCodec2Decoder; S3Encoder, S3MemoryEncoder;
            GLMVoiceEncoder; SNACEncoder, SNACDecoder; OobleckEncoder, OobleckDecoder;
            XCodecEncoder with HuBERT or WavLM, XCodecDecoder; NanoCodecEncoder, NanoCodecDecoder
    image   ConvEncoder, ConvDecoder; LDMEncoder, LDMDecoder; ViTEncoder, ViTDecoder; LappedEncoder, LappedDecoder;
            LinearSynthesis, ShallowDecoder; FeatureEncoder, FeatureDecoder
            TimmBackbone: a frozen network of timm, for parts that need trained features
    one way NoEncoder, NoDecoder: in the place of a part that a model lacks
    latents LatentEncoder, LatentDecoder: of another codec
    video   WaveletEncoder, WaveletDecoder; FactorisedEncoder, FactorisedDecoder; causal in time: they start and step

Classifiers of images
    whole             Classifier: base class; ConvClassifier, TimmClassifier; StageEncoder: the first stages
    with codes inside NarrowedClassifier with ClassifierEncoder and ClassifierDecoder, KeyValueClassifier; both are a
                      ClassifyingCodec, which returns Classified

Bottlenecks
    vectors           VQ, IBQ, ResidualVQ, GroupedResidualVQ, SplitResidualVQ, MultiRateVQ, MultiCodebook,
                      VectorQuantizePytorch, KeyCodebooks
    scalars           FSQ, PlainFSQ, TwiceBoundedFSQ, ResidualFSQ, DitheredFSQ, LFQ, BSQ, ChannelFSQ
    continuous        Gaussian, SplitGaussian, Tanh, SoftNorm, ARD, Identity
    entropy models    FactorizedPrior, ScaleHyperprior, MeanScaleHyperprior, SpaceChannelContext, SpaceTimeContext
    of bottlenecks    Residual, Grouped, Nested, Ordered, Strided, ReBottleneck

Parts of bottlenecks
    codebooks         Codebook, EMACodebook, LearnedCodebook, SimCodebook, DirectionCodebook
    gradients         Estimator, StraightThrough, RotationTrick
    others            Projection, RandomProjection, AttentionProjection, Rounding
"""

from narrows.codecs.audio.bigcodec import BigCodecDecoder, BigCodecEncoder
from narrows.codecs.audio.dac import DACDecoder, DACEncoder
from narrows.codecs.audio.encodec import EnCodecDecoder, EnCodecEncoder
from narrows.codecs.audio.frames import FrameDecoder, FrameEncoder
from narrows.codecs.audio.glm_voice import GLMVoiceEncoder
from narrows.codecs.audio.hubert import HuBERT, WavLM
from narrows.codecs.audio.mimi import MimiDecoder, MimiEncoder
from narrows.codecs.audio.nanocodec import NanoCodecDecoder, NanoCodecEncoder
from narrows.codecs.audio.oobleck import OobleckDecoder, OobleckEncoder
from narrows.codecs.audio.s3 import S3Encoder, S3MemoryEncoder
from narrows.codecs.audio.snac import SNACDecoder, SNACEncoder
from narrows.codecs.audio.vocos import AdaptiveVocosDecoder, LogMelEncoder, VocosDecoder
from narrows.codecs.audio.w2v_bert import W2VBert
from narrows.codecs.audio.wavtokenizer import WavTokenizerDecoder
from narrows.codecs.audio.xcodec import XCodecDecoder, XCodecEncoder
from narrows.codecs.audio.xcodec2 import XCodec2Decoder, XCodec2Encoder
from narrows.codecs.base import Bottleneck, Decoder, Encoder, Quantized, State
from narrows.codecs.bottlenecks.ard import ARD
from narrows.codecs.bottlenecks.channel_fsq import ChannelFSQ
from narrows.codecs.bottlenecks.continuous import SoftNorm, Tanh
from narrows.codecs.bottlenecks.entropy.factorized import FactorizedPrior
from narrows.codecs.bottlenecks.entropy.hyperprior import MeanScaleHyperprior, ScaleHyperprior
from narrows.codecs.bottlenecks.entropy.space_channel import SpaceChannelContext
from narrows.codecs.bottlenecks.entropy.space_time import SpaceTimeContext
from narrows.codecs.bottlenecks.fsq import FSQ, DitheredFSQ, PlainFSQ, ResidualFSQ, TwiceBoundedFSQ
from narrows.codecs.bottlenecks.gaussian import Gaussian
from narrows.codecs.bottlenecks.grouped import Grouped, GroupedResidualVQ
from narrows.codecs.bottlenecks.ibq import IBQ
from narrows.codecs.bottlenecks.identity import Identity
from narrows.codecs.bottlenecks.key_codebooks import KeyCodebooks
from narrows.codecs.bottlenecks.lookup_free import BSQ, LFQ
from narrows.codecs.bottlenecks.multi_codebook import MultiCodebook
from narrows.codecs.bottlenecks.multi_rate import MultiRateVQ, Strided
from narrows.codecs.bottlenecks.nested import Nested
from narrows.codecs.bottlenecks.ordered import Ordered
from narrows.codecs.bottlenecks.rebottleneck import ReBottleneck
from narrows.codecs.bottlenecks.residual import Residual, ResidualVQ
from narrows.codecs.bottlenecks.split import SplitResidualVQ
from narrows.codecs.bottlenecks.split_gaussian import SplitGaussian
from narrows.codecs.bottlenecks.vector_quantize_pytorch import VectorQuantizePytorch
from narrows.codecs.bottlenecks.vq import VQ
from narrows.codecs.codec import Codec, Reconstruction
from narrows.codecs.image.classifier_features import ClassifierDecoder, ClassifierEncoder
from narrows.codecs.image.classifiers import Classifier, ConvClassifier, StageEncoder
from narrows.codecs.image.convolutional import ConvDecoder, ConvEncoder
from narrows.codecs.image.feature_autoencoder import FeatureDecoder, FeatureEncoder
from narrows.codecs.image.lapped import LappedDecoder, LappedEncoder
from narrows.codecs.image.ldm import LDMDecoder, LDMEncoder
from narrows.codecs.image.narrowed import Classified, ClassifyingCodec, KeyValueClassifier, NarrowedClassifier
from narrows.codecs.image.shallow import LinearSynthesis, ShallowDecoder
from narrows.codecs.image.timm_backbone import TimmBackbone
from narrows.codecs.image.timm_classifier import TimmClassifier
from narrows.codecs.image.vit import ViTDecoder, ViTEncoder
from narrows.codecs.latent import LatentDecoder, LatentEncoder
from narrows.codecs.one_way import NoDecoder, NoEncoder
from narrows.codecs.quantization.attention_projection import AttentionProjection
from narrows.codecs.quantization.codebooks import Codebook, DirectionCodebook, EMACodebook, LearnedCodebook, SimCodebook
from narrows.codecs.quantization.estimators import Estimator, RotationTrick, StraightThrough
from narrows.codecs.quantization.projection import Projection, RandomProjection
from narrows.codecs.quantization.rounding import Rounding
from narrows.codecs.video.factorised import FactorisedDecoder, FactorisedEncoder
from narrows.codecs.video.wavelet import WaveletDecoder, WaveletEncoder

__all__ = [
    "ARD",
    "BSQ",
    "FSQ",
    "IBQ",
    "LFQ",
    "VQ",
    "AdaptiveVocosDecoder",
    "AttentionProjection",
    "BigCodecDecoder",
    "BigCodecEncoder",
    "Bottleneck",
    "ChannelFSQ",
    "Classified",
    "Classifier",
    "ClassifierDecoder",
    "ClassifierEncoder",
    "ClassifyingCodec",
    "Codebook",
    "Codec",
    "ConvClassifier",
    "ConvDecoder",
    "ConvEncoder",
    "DACDecoder",
    "DACEncoder",
    "Decoder",
    "DirectionCodebook",
    "DitheredFSQ",
    "EMACodebook",
    "EnCodecDecoder",
    "EnCodecEncoder",
    "Encoder",
    "Estimator",
    "FactorisedDecoder",
    "FactorisedEncoder",
    "FactorizedPrior",
    "FeatureDecoder",
    "FeatureEncoder",
    "FrameDecoder",
    "FrameEncoder",
    "GLMVoiceEncoder",
    "Gaussian",
    "Grouped",
    "GroupedResidualVQ",
    "HuBERT",
    "Identity",
    "KeyCodebooks",
    "KeyValueClassifier",
    "LDMDecoder",
    "LDMEncoder",
    "LappedDecoder",
    "LappedEncoder",
    "LatentDecoder",
    "LatentEncoder",
    "LearnedCodebook",
    "LinearSynthesis",
    "LogMelEncoder",
    "MeanScaleHyperprior",
    "MimiDecoder",
    "MimiEncoder",
    "MultiCodebook",
    "MultiRateVQ",
    "NanoCodecDecoder",
    "NanoCodecEncoder",
    "NarrowedClassifier",
    "Nested",
    "NoDecoder",
    "NoEncoder",
    "OobleckDecoder",
    "OobleckEncoder",
    "Ordered",
    "PlainFSQ",
    "Projection",
    "Quantized",
    "RandomProjection",
    "ReBottleneck",
    "Reconstruction",
    "Residual",
    "ResidualFSQ",
    "ResidualVQ",
    "RotationTrick",
    "Rounding",
    "S3Encoder",
    "S3MemoryEncoder",
    "SNACDecoder",
    "SNACEncoder",
    "ScaleHyperprior",
    "ShallowDecoder",
    "SimCodebook",
    "SoftNorm",
    "SpaceChannelContext",
    "SpaceTimeContext",
    "SplitGaussian",
    "SplitResidualVQ",
    "StageEncoder",
    "State",
    "StraightThrough",
    "Strided",
    "Tanh",
    "TimmBackbone",
    "TimmClassifier",
    "TwiceBoundedFSQ",
    "VectorQuantizePytorch",
    "ViTDecoder",
    "ViTEncoder",
    "VocosDecoder",
    "W2VBert",
    "WavLM",
    "WavTokenizerDecoder",
    "WaveletDecoder",
    "WaveletEncoder",
    "XCodec2Decoder",
    "XCodec2Encoder",
    "XCodecDecoder",
    "XCodecEncoder",
]
