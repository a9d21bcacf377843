"""BigCodec (github.com/Aria-K-Alethia/BigCodec; code and weights under the MIT licence).

The file of the authors is read (`bigcodec.pt`), and those of the package `bigcodec`, which are the same weights under
other names. All sizes are those of the tensors. The script of the authors adds a whole frame of zeros to a recording
that ends with a frame; here none is added.
"""

import re
from collections.abc import Mapping

from torch import Tensor

from narrows.checkpoints.families.family import Family
from narrows.checkpoints.families.keys import renamed, with_codebook_states
from narrows.checkpoints.families.source import Source
from narrows.codecs.audio.bigcodec import BigCodecDecoder, BigCodecEncoder
from narrows.codecs.bottlenecks.vq import VQ
from narrows.codecs.codec import Codec
from narrows.codecs.quantization.codebooks import DirectionCodebook
from narrows.codecs.quantization.estimators import StraightThrough
from narrows.errors import ModelError
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
        shapes = {name: tuple(tensor.shape) for name, tensor in self.weights(source).items()}
        width, *_ = _shape(source, shapes, "encoder.block.0.weight", 3)
        widest, dim, _ = _shape(source, shapes, "decoder.model.0.weight", 3)
        entries, code_dim = _shape(source, shapes, "bottleneck.codebook.vectors", 2)
        downs = _strides(shapes, r"encoder\.block\.(\d+)\.block\.4\.weight")
        ups = _strides(shapes, r"decoder\.model\.(\d+)\.block\.1\.weight")
        bottleneck = VQ(dim, DirectionCodebook(code_dim, entries), StraightThrough())
        codec = Codec(BigCodecEncoder(width, downs, dim), bottleneck, BigCodecDecoder(widest, ups, dim))
        tokenizer = AudioTokenizer(codec, RATE)
        tokenizer.name = "bigcodec-16khz"
        return tokenizer

    def weights(self, source: Source) -> dict[str, Tensor]:
        """The authors' names are those of the networks here."""
        tensors = {
            name: tensor.reshape(1, -1, 1) if name.endswith((".alpha", ".beta")) else tensor
            for name, tensor in renamed(source, RULES).items()
        }
        return with_codebook_states(tensors)


def _strides(shapes: Mapping[str, tuple[int, ...]], pattern: str) -> tuple[int, ...]:
    """Half the kernels of the convolutions whose names match, in the order of their numbers."""
    found = sorted((int(match[1]), shape) for name, shape in shapes.items() if (match := re.fullmatch(pattern, name)))
    return tuple(shape[-1] // 2 for _, shape in found)


def _shape(source: Source, shapes: Mapping[str, tuple[int, ...]], name: str, axes: int) -> tuple[int, ...]:
    if len(shape := shapes.get(name, ())) != axes:
        raise ModelError(f"expected a tensor {name} of {axes} axes in {source.path}, got {shape or 'none'}")
    return shape


FAMILY = BigCodec()
