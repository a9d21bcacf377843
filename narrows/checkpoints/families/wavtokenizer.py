"""WavTokenizer (github.com/jishengpeng/WavTokenizer; code and weights under the MIT licence).

Files of the authors are read: checkpoints of Lightning, without their optimizers and discriminators. All sizes are
those of the tensors, so their .yaml is not needed. Two things in them are not used: the decoder of EnCodec, which is
left out, as the authors never run it, and the norms of bandwidths other than the first.

The end of a recording is encoded as it is, without zeros up to a whole frame, so that the last codes are those of the
authors.
"""

from torch import Tensor

from narrows.checkpoints.families.family import Family
from narrows.checkpoints.families.keys import Shapes, renamed
from narrows.checkpoints.families.releases import releases
from narrows.checkpoints.families.source import Source
from narrows.codecs.audio.encodec import EnCodecEncoder
from narrows.codecs.audio.wavtokenizer import WavTokenizerDecoder
from narrows.codecs.bottlenecks.vq import VQ
from narrows.codecs.codec import Codec
from narrows.codecs.quantization.codebooks import EMACodebook
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


class WavTokenizer(Family):
    """WavTokenizer for 40 and 75 codes a second."""

    name = "wavtokenizer"

    def recognises(self, source: Source) -> bool:
        """By the names of the tensors."""
        return source.has(rf"{LIGHTNING}backbone\.pos_net\.2\.q\.") and source.has(rf"{ENCODEC}encoder\.")

    def tokenizer(self, source: Source) -> AudioTokenizer:
        """The tokenizer of the sizes of the tensors."""
        shapes = Shapes(source, self.weights(source))
        lstm, *_ = [*shapes.numbers(r"encoder\.layers\.(\d+)\.lstm\..+"), 0]
        strides = shapes.seanet_strides(lstm, "encoder.layers.{}.conv.weight")
        filters, *_ = shapes.of("encoder.layers.0.conv.weight", 3)
        width, dim, _ = shapes.of("decoder.embed.weight", 3)
        entries, _ = shapes.of("bottleneck.codebook.vectors", 2)
        hidden, _ = shapes.of("decoder.convnext.0.pwconv1.weight", 2)
        qualities, _ = shapes.of("decoder.norm.scale.weight", 2)
        outputs, _ = shapes.of("decoder.head.out.weight", 2)
        depth = shapes.count(r"decoder\.convnext\.(\d+)\..+")
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


FAMILY = WavTokenizer()
