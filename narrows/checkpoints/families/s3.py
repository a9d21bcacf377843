"""S3 tokenizers of CosyVoice 1, 2 and 3 (github.com/xingchensong/S3Tokenizer; the code under Apache 2.0).

They are encoders alone: what decodes their tokens is a speech model. Read are the files that the package makes of the
published ones (`s3tokenizer.utils.onnx2torch`). The two models of version 1 differ in their rate, not in their
tensors: a file whose name ends with "25hz" is of 25 tokens a second, another of 50.

Codes are those of the package on recordings that end with a mel frame, of 160 samples; others get zeros up to there.
"""

from torch import Tensor

from narrows.checkpoints.families.family import Family
from narrows.checkpoints.families.keys import Shapes, renamed, with_codebook_states
from narrows.checkpoints.families.source import Source
from narrows.codecs.audio.s3 import S3Encoder, S3MemoryEncoder
from narrows.codecs.bottlenecks.fsq import PlainFSQ
from narrows.codecs.bottlenecks.vq import VQ
from narrows.codecs.codec import Codec
from narrows.codecs.layers.whisper import RATE
from narrows.codecs.one_way import NoDecoder
from narrows.codecs.quantization.codebooks import LearnedCodebook
from narrows.codecs.quantization.estimators import StraightThrough
from narrows.tokenizers.audio import AudioTokenizer

HEAD = 64  # channels of a head of attention
LEVELS, SCALE = 3, 0.9990000128746033  # of the scalars of versions 2 and 3
DEPTH_3 = 12  # blocks from which a model is of version 3
RULES = [
    (r"encoder\.(.+)", r"encoder.\1"),
    (r"quantizer\._codebook\.embed", "bottleneck.codebook.vectors"),
    (r"quantizer\._codebook\.project_down\.(\w+)", r"encoder.project_down.\1"),
]


class S3(Family):
    """S3 tokenizers: version 1 of one codebook, versions 2 and 3 of FSQ."""

    name = "s3"

    def recognises(self, source: Source) -> bool:
        """By the names of the tensors."""
        return source.has(r"encoder\.blocks\.0\.attn\.query\.weight") and source.has(r"quantizer\._codebook\.")

    def tokenizer(self, source: Source) -> AudioTokenizer:
        """The tokenizer of the sizes of the tensors."""
        shapes = Shapes(source, self.weights(source))
        width, mels, _ = shapes.of("encoder.conv1.weight", 3)
        depth = shapes.count(r"encoder\.blocks\.(\d+)\..+")
        heads = width // HEAD
        if shapes.has("encoder.project_down.weight"):
            scalars, _ = shapes.of("encoder.project_down.weight", 2)
            encoder = S3MemoryEncoder(scalars, width, depth, heads, mels)
            decoder = NoDecoder(1, scalars, encoder.stride)
            codec = Codec(encoder, PlainFSQ((LEVELS,) * scalars, SCALE), decoder)
            name = "s3-v3-25hz" if depth >= DEPTH_3 else "s3-v2-25hz"
        else:
            entries, _ = shapes.of("bottleneck.codebook.vectors", 2)
            slow = source.path.stem.endswith("25hz")
            of_units = S3Encoder(width, depth, heads, mels, 2 if slow else 1)
            bottleneck = VQ(width, LearnedCodebook(width, entries), StraightThrough())
            codec = Codec(of_units, bottleneck, NoDecoder(1, width, of_units.stride))
            name = "s3-v1-25hz" if slow else "s3-v1-50hz"
        tokenizer = AudioTokenizer(codec, RATE)
        tokenizer.name = name
        return tokenizer

    def weights(self, source: Source) -> dict[str, Tensor]:
        """The names of the package are those of the networks here."""
        return with_codebook_states(renamed(source, RULES))


FAMILY = S3()
