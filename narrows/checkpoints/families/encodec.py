"""EnCodec (github.com/facebookresearch/encodec), and the EnCodec of MusicGen, which is under another licence.

Files of the authors are read (`encodec_24khz-d7cc33bc.th`, which hold tensors alone), and those of transformers'
EncodecModel. Sizes are those of the tensors; the config, where there is one, says what they cannot show. The end of a
recording is encoded as it is, without zeros up to a whole frame, so that the last codes are those of the authors. The
model for 48 kHz codes segments of a second, the last of which is as long as what is left; the feature extractor of
transformers lengthens it by zeros, and so does not give the authors' last codes. Both fail to decode some lengths, such
as 47,700 samples, at which the last segment ends before the one before it; here these are decoded.

In the authors' training, the residual of each codebook passes gradients to those before it, so that the losses of all
but the first are not what they seem (their issue 25). Weights are not affected; trained here, a codec does not do this.
"""

import re
from collections.abc import Mapping

from torch import Tensor

from narrows.checkpoints.families.family import Family
from narrows.checkpoints.families.keys import renamed
from narrows.checkpoints.families.source import Source
from narrows.codecs.audio.encodec import EnCodecDecoder, EnCodecEncoder
from narrows.codecs.bottlenecks.residual import ResidualVQ
from narrows.codecs.codec import Codec
from narrows.errors import ModelError, shortened
from narrows.tokenizers.audio import AudioTokenizer
from narrows.tokenizers.audio_segments import SegmentedAudioTokenizer

CODEBOOK = {"embed": "vectors", "embed_avg": "sums", "cluster_size": "usage", "inited": "initialized"}
RULES = [
    (r"((?:en|de)coder\.layers\..+)", r"\1"),  # transformers' names are those here
    (r"((?:en|de)coder)\.model\.(\d+\.lstm\..+)", r"\1.layers.\2"),
    (r"((?:en|de)coder)\.model\.(.+)\.(?:conv\.conv|convtr\.convtr)\.(\w+)", r"\1.layers.\2.conv.\3"),
    (r"((?:en|de)coder)\.model\.(.+)\.(?:conv|convtr)\.norm\.(\w+)", r"\1.layers.\2.norm.\3"),
    *(
        (rf"quantizer\.(?:vq\.)?layers\.(\d+)\._?codebook\.{theirs}", rf"bottleneck.stages.\1.codebook.{ours}")
        for theirs, ours in CODEBOOK.items()
    ),
]
STAGE = 3  # layers of the encoder per stride, from the first convolution to the LSTM
SAME = {  # of transformers' config, in all published models
    "pad_mode": "reflect",
    "trim_right_ratio": 1.0,
}


class EnCodec(Family):
    """EnCodec for 24 kHz and for 48 kHz in stereo, and that of MusicGen for 32 kHz."""

    name = "encodec"

    def recognises(self, source: Source) -> bool:
        """By the type in transformers' config, or by the names of the tensors in a file of the authors."""
        return source.config.get("model_type") == "encodec" or (
            source.has(r"encoder\.model\.\d+\.lstm\.") and source.has(r"quantizer\.vq\.layers\.0\._codebook\.embed")
        )

    def tokenizer(self, source: Source) -> AudioTokenizer:
        """The tokenizer of a config of transformers; without one, of the models of the authors for 24 and 48 kHz."""
        for name, value in SAME.items():
            if source.config.get(name, value) != value:
                got = shortened(source.config[name])
                raise ModelError(f"expected {name} of {source.path} to be {value!r}, got {got}")
        tensors = self.weights(source)
        width, channels, _ = _shape(source, tensors, "encoder.layers.0.conv.weight")
        strides = _strides(source, tensors)
        dim, *_ = _shape(source, tensors, f"encoder.layers.{STAGE * len(strides) + 3}.conv.weight")
        group_norm, shortcut = (any(part in name for name in tensors) for part in (".norm.", ".shortcut."))
        causal = source.config.get("use_causal_conv", not group_norm)
        sizes = dim, width, strides, causal, group_norm, shortcut, channels
        entries, _ = _shape(source, tensors, "bottleneck.stages.0.codebook.vectors")
        codebooks = sum(name.endswith(".codebook.vectors") for name in tensors)
        codec = Codec(EnCodecEncoder(*sizes), ResidualVQ(dim, codebooks, entries, dim), EnCodecDecoder(*sizes))
        rate = source.integer("sampling_rate") if source.config else 48_000 if group_norm else 24_000
        segments = _segments(source, rate, group_norm)
        tokenizer = AudioTokenizer(codec, rate) if segments is None else SegmentedAudioTokenizer(codec, rate, *segments)
        tokenizer.name = f"encodec-{rate // 1000}khz"
        return tokenizer

    def weights(self, source: Source) -> dict[str, Tensor]:
        """The names of transformers are those of the networks here."""
        return {
            name: tensor.bool().reshape(()) if name.endswith(".initialized") and tensor.numel() == 1 else tensor
            for name, tensor in renamed(source, RULES).items()
        }


def _segments(source: Source, rate: int, group_norm: bool) -> tuple[int, int] | None:
    """The length of segments and their distance in samples; None if a recording is encoded as a whole."""
    config = source.config or {"normalize": group_norm, "chunk_length_s": 1.0 if group_norm else None, "overlap": 0.01}
    seconds, overlap = config.get("chunk_length_s"), config.get("overlap")
    if bool(config.get("normalize")) != (seconds is not None):
        raise ModelError(f"expected segments in {source.path} to be normalized, and only these, got one of the two")
    if seconds is None:
        return None
    if (
        type(seconds) not in (int, float)
        or type(overlap) is not float
        or not 0 < seconds < 1000
        or not 0 <= overlap < 1
    ):
        given = f"{shortened(seconds)} and {shortened(overlap)}"
        raise ModelError(f"expected chunk_length_s and overlap of {source.path} as numbers, got {given}")
    segment = int(seconds * rate)
    return segment, max(1, int((1.0 - overlap) * segment))


def _strides(source: Source, tensors: Mapping[str, Tensor]) -> tuple[int, ...]:
    """The strides in the order of the decoder: half the kernels of the layers before the LSTM of the encoder."""
    places = [int(found[1]) for name in tensors if (found := re.match(r"encoder\.layers\.(\d+)\.lstm\.", name))]
    if not places:
        raise ModelError(f"expected an LSTM in the encoder of {source.path}, got none")
    names = [f"encoder.layers.{place}.conv.weight" for place in range(STAGE, places[0], STAGE)]
    return tuple(_shape(source, tensors, name)[2] // 2 for name in reversed(names))


def _shape(source: Source, tensors: Mapping[str, Tensor], name: str) -> tuple[int, ...]:
    """The shape of a tensor: (V, d) of a codebook, else (C', C, kernel)."""
    axes = 2 if name.startswith("bottleneck") else 3
    if name not in tensors or tensors[name].ndim != axes:
        raise ModelError(f"expected a tensor {name} of {axes} axes in {source.path}, got none")
    return tuple(tensors[name].shape)


FAMILY = EnCodec()
