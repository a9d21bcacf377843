"""BigCodec (github.com/Aria-K-Alethia/BigCodec; code and weights under the MIT licence).

The file of the authors is read (`bigcodec.pt`), and those of the package `bigcodec`, which are the same weights under
other names. All sizes are those of the tensors. The script of the authors adds a whole frame of zeros to a recording
that ends with a frame; here none is added.
"""

from torch import Tensor

from narrows.checkpoints.families.family import Family
from narrows.checkpoints.families.keys import Shapes, channelwise, renamed, with_codebook_states
from narrows.checkpoints.families.source import Source
from narrows.codecs.audio.bigcodec import BigCodecDecoder, BigCodecEncoder
from narrows.codecs.bottlenecks.vq import VQ
from narrows.codecs.codec import Codec
from narrows.codecs.quantization.codebooks import DirectionCodebook
from narrows.codecs.quantization.estimators import StraightThrough
from narrows.tokenizers.audio import AudioTokenizer

RATE = 16_000  # Hz
ENCODER, DECODER = r"(?:CodecEnc|encoder)\.", r"(?:generator|decoder)\."
QUANTIZER = rf"{DECODER}quantizer\.layers\.0\."
RULES = [
    (r".+\.filter", None),  # of the activations: constants
    (rf"{ENCODER}(block\..+)", r"encoder.\1"),
    (rf"{QUANTIZER}in_proj\.(\w+)", r"bottleneck.projection.down_map.\1"),
    (rf"{QUANTIZER}out_proj\.(\w+)", r"bottleneck.projection.up_map.\1"),
    (rf"{QUANTIZER}_codebook\.weight", "bottleneck.codebook.vectors"),
    (rf"{DECODER}(model\..+)", r"decoder.\1"),
]


class BigCodec(Family):
    """BigCodec for 16 kHz."""

    name = "bigcodec"

    def recognises(self, source: Source) -> bool:
        """By the names of the tensors."""
        return source.has(rf"{ENCODER}block\.1\.block\.0\.block\.0\.act\.beta") and source.has(QUANTIZER)

    def tokenizer(self, source: Source) -> AudioTokenizer:
        """The tokenizer of the sizes of the tensors."""
        shapes = Shapes(source, self.weights(source))
        width, *_ = shapes.of("encoder.block.0.weight", 3)
        widest, dim, _ = shapes.of("decoder.model.0.weight", 3)
        entries, code_dim = shapes.of("bottleneck.codebook.vectors", 2)
        downs = shapes.strides(r"encoder\.block\.(\d+)\.block\.4\.weight")
        ups = shapes.strides(r"decoder\.model\.(\d+)\.block\.1\.weight")
        bottleneck = VQ(dim, DirectionCodebook(code_dim, entries), StraightThrough())
        codec = Codec(BigCodecEncoder(width, downs, dim), bottleneck, BigCodecDecoder(widest, ups, dim))
        tokenizer = AudioTokenizer(codec, RATE)
        tokenizer.name = "bigcodec-16khz"
        return tokenizer

    def weights(self, source: Source) -> dict[str, Tensor]:
        """The authors' names are those of the networks here."""
        return with_codebook_states(channelwise(renamed(source, RULES)))


FAMILY = BigCodec()
