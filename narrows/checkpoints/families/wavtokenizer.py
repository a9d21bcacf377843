"""WavTokenizer (github.com/jishengpeng/WavTokenizer; code and weights under the MIT licence).

Files of the authors are read: checkpoints of Lightning, without their optimizers and discriminators. All sizes are
those of the tensors, so their .yaml is not needed. Two things in them are not used: the decoder of EnCodec, which is
left out, as the authors never run it, and the norms of bandwidths other than the first.

The end of a recording is encoded as it is, without zeros up to a whole frame, so that the last codes are those of the
authors.
"""

import re
from collections.abc import Mapping

from torch import Tensor

from narrows.checkpoints.families.family import Family
from narrows.checkpoints.families.keys import renamed
from narrows.checkpoints.families.releases import releases
from narrows.checkpoints.families.source import Source
from narrows.codecs.audio.encodec import EnCodecEncoder
from narrows.codecs.audio.wavtokenizer import WavTokenizerDecoder
from narrows.codecs.bottlenecks.vq import VQ
from narrows.codecs.codec import Codec
from narrows.codecs.quantization.codebooks import EMACodebook
from narrows.errors import ModelError
from narrows.tokenizers.audio import AudioTokenizer

RATE = 24_000  # Hz, of all models
LIGHTNING = r"(?:state_dict\.)?"  # before the names in a checkpoint of Lightning
ENCODEC = rf"{LIGHTNING}feature_extractor\.encodec\."
CODEBOOK = {"embed": "vectors", "embed_avg": "sums", "cluster_size": "usage", "inited": "initialized"}
RULES = [
    (rf"{ENCODEC}encoder\.model\.(\d+\.lstm\..+)", r"encoder.layers.\1"),
    (rf"{ENCODEC}encoder\.model\.(.+)\.conv\.conv\.(\w+)", r"encoder.layers.\1.conv.\2"),
    *(
        (rf"{ENCODEC}quantizer\.vq\.layers\.0\._codebook\.{theirs}", f"bottleneck.codebook.{ours}")
        for theirs, ours in CODEBOOK.items()
    ),
    (rf"{ENCODEC}decoder\..+", None),
    (rf"{LIGHTNING}backbone\.(.+)", r"decoder.\1"),
    (rf"{LIGHTNING}head\.out\.(\w+)", r"decoder.head.out.\1"),
    (rf"{LIGHTNING}head\.istft\.window", None),
    (rf"(?!{LIGHTNING}(?:feature_extractor|backbone|head)\.).+", None),  # discriminators, losses and states of training
]
STAGE = 3  # layers of the encoder per stride, from the first convolution to the LSTM


class WavTokenizer(Family):
    """WavTokenizer for 40 and 75 codes a second."""

    name = "wavtokenizer"

    def recognises(self, source: Source) -> bool:
        """By the names of the tensors."""
        return source.has(rf"{LIGHTNING}backbone\.pos_net\.2\.q\.") and source.has(rf"{ENCODEC}encoder\.")

    def tokenizer(self, source: Source) -> AudioTokenizer:
        """The tokenizer of the sizes of the tensors."""
        shapes = {name: tuple(tensor.shape) for name, tensor in self.weights(source).items()}
        strides = _strides(source, shapes)
        filters, *_ = _shape(source, shapes, "encoder.layers.0.conv.weight", 3)
        width, dim, _ = _shape(source, shapes, "decoder.embed.weight", 3)
        entries, _ = _shape(source, shapes, "bottleneck.codebook.vectors", 2)
        hidden, _ = _shape(source, shapes, "decoder.convnext.0.pwconv1.weight", 2)
        qualities, _ = _shape(source, shapes, "decoder.norm.scale.weight", 2)
        outputs, _ = _shape(source, shapes, "decoder.head.out.weight", 2)
        depth = len({name.split(".")[2] for name in shapes if name.startswith("decoder.convnext.")})
        encoder = EnCodecEncoder(dim, filters, strides, causal=False)
        (hop,) = encoder.stride
        decoder = WavTokenizerDecoder(dim, width, hidden, depth, outputs - 2, hop, qualities=qualities)
        tokenizer = AudioTokenizer(Codec(encoder, VQ(dim, EMACodebook(dim, entries)), decoder), RATE)
        known = (release.name for release in releases() if source.path.name in release.files)
        tokenizer.name = next(known, f"wavtokenizer-{RATE // hop}hz")
        return tokenizer

    def weights(self, source: Source) -> dict[str, Tensor]:
        """The encoder and the codebook are named as in EnCodec, the decoder as in Vocos."""
        tensors = renamed(source, RULES)
        if (initialized := tensors.get("bottleneck.codebook.initialized")) is not None:
            tensors["bottleneck.codebook.initialized"] = initialized.reshape(-1)[:1].squeeze(0).bool()
        return tensors


def _strides(source: Source, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """The strides in the order of a decoder: half the kernels of the layers before the LSTM of the encoder."""
    lstm = [int(found[1]) for name in shapes if (found := re.match(r"encoder\.layers\.(\d+)\.lstm\.", name))]
    places = range(STAGE, lstm[0] if lstm else 0, STAGE)
    return tuple(_shape(source, shapes, f"encoder.layers.{place}.conv.weight", 3)[2] // 2 for place in reversed(places))


def _shape(source: Source, shapes: Mapping[str, tuple[int, ...]], name: str, axes: int) -> tuple[int, ...]:
    if len(shape := shapes.get(name, ())) != axes:
        raise ModelError(f"expected a tensor {name} of {axes} axes in {source.path}, got {shape or 'none'}")
    return shape


FAMILY = WavTokenizer()
