"""EnCodec (github.com/facebookresearch/encodec), and those of MusicGen and AudioGen, which are under another licence.

Files of the authors are read (`encodec_24khz-d7cc33bc.th`, which hold tensors alone), those that audiocraft exports
(`compression_state_dict.bin`), and those of transformers' EncodecModel. Sizes are those of the tensors; what these
cannot show is in the config, or known of the authors' two models.

The end of a recording is encoded as it is, without zeros up to a whole frame, so that the last codes are those of the
authors. The model for 48 kHz codes segments of a second, the last of which is as long as what is left; the feature
extractor of transformers lengthens it by zeros, and so does not give the authors' last codes. Both fail to decode some
lengths, such as 47,700 samples, at which the last segment ends before the one before it; here these are decoded.

In the authors' training, the residual of each codebook passes gradients to those before it, so that the losses of all
but the first are not what they seem (their issue 25). Weights are not affected; trained here, a codec does not do this.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from narrows.checkpoints.families.family import Family
from narrows.checkpoints.families.keys import Shapes, renamed
from narrows.checkpoints.families.source import Source, read_yaml
from narrows.codecs.audio.encodec import EnCodecDecoder, EnCodecEncoder
from narrows.codecs.bottlenecks.residual import ResidualVQ
from narrows.codecs.codec import Codec
from narrows.errors import ModelError, shortened
from narrows.tokenizers.audio import AudioTokenizer
from narrows.tokenizers.audio_segments import SegmentedAudioTokenizer

CODEBOOK = {"embed": "vectors", "embed_avg": "sums", "cluster_size": "usage", "inited": "initialized"}
EXPORTED = r"(?:best_state\.)?"  # before the names in files of audiocraft
RULES = [
    (r"((?:en|de)coder\.layers\..+)", r"\1"),  # transformers' names are those here
    (EXPORTED + r"((?:en|de)coder)\.model\.(\d+\.lstm\..+)", r"\1.layers.\2"),
    (EXPORTED + r"((?:en|de)coder)\.model\.(.+)\.(?:conv\.conv|convtr\.convtr)\.(\w+)", r"\1.layers.\2.conv.\3"),
    (EXPORTED + r"((?:en|de)coder)\.model\.(.+)\.(?:conv|convtr)\.norm\.(\w+)", r"\1.layers.\2.norm.\3"),
    *(
        (
            rf"{EXPORTED}quantizer\.(?:vq\.)?layers\.(\d+)\._?codebook\.{theirs}",
            rf"bottleneck.stages.\1.codebook.{ours}",
        )
        for theirs, ours in CODEBOOK.items()
    ),
]
PADS = {"reflect": False, "constant": True}  # whether there are zeros at the ends, by the name of the mode


@dataclass(frozen=True)
class Facts:
    """What the tensors cannot show.

    Attributes:
        rate: sample rate in Hz.
        causal, zeros: of the networks.
        segments: length and distance of segments in samples; None if a recording is encoded as a whole.
    """

    rate: int
    causal: bool
    zeros: bool = False
    segments: tuple[int, int] | None = None


class EnCodec(Family):
    """EnCodec for 24 kHz and for 48 kHz in stereo, and those of MusicGen for 32 kHz and AudioGen for 16 kHz."""

    name = "encodec"

    def recognises(self, source: Source) -> bool:
        """By the type in transformers' config, or by the names of the tensors in a file of the authors."""
        return source.config.get("model_type") == "encodec" or (
            source.has(EXPORTED + r"encoder\.model\.\d+\.lstm\.")
            and source.has(EXPORTED + r"quantizer\.vq\.layers\.0\._codebook\.embed")
        )

    def tokenizer(self, source: Source) -> AudioTokenizer:
        """The tokenizer of a config of transformers or audiocraft; without one, of the authors' models."""
        tensors = self.weights(source)
        shapes = Shapes(source, tensors)
        width, channels, _ = shapes.of("encoder.layers.0.conv.weight", 3)
        if not (lstm := shapes.numbers(r"encoder\.layers\.(\d+)\.lstm\..+")):
            raise ModelError(f"expected an LSTM in the encoder of {source.path}, got none")
        strides = shapes.seanet_strides(lstm[0], "encoder.layers.{}.conv.weight")
        dim, *_ = shapes.of(f"encoder.layers.{lstm[0] + 2}.conv.weight", 3)
        group_norm, shortcut = (any(part in name for name in tensors) for part in (".norm.", ".shortcut."))
        facts = _facts(source, group_norm)
        sizes = dim, width, strides, facts.causal, group_norm, shortcut, channels, facts.zeros
        entries, _ = shapes.of("bottleneck.stages.0.codebook.vectors", 2)
        codebooks = sum(name.endswith(".codebook.vectors") for name in tensors)
        codec = Codec(EnCodecEncoder(*sizes), ResidualVQ(dim, codebooks, entries, dim), EnCodecDecoder(*sizes))
        if facts.segments is None:
            tokenizer = AudioTokenizer(codec, facts.rate)
        else:
            tokenizer = SegmentedAudioTokenizer(codec, facts.rate, *facts.segments)
        tokenizer.name = f"encodec-{facts.rate // 1000}khz"
        return tokenizer

    def weights(self, source: Source) -> dict[str, Tensor]:
        """The names of transformers are those of the networks here."""
        return {
            name: tensor.bool().reshape(()) if name.endswith(".initialized") and tensor.numel() == 1 else tensor
            for name, tensor in renamed(source, RULES).items()
        }


def _facts(source: Source, group_norm: bool) -> Facts:
    if source.config.get("model_type") == "encodec":
        return _of_transformers(source)
    if "xp.cfg" in source.values:
        return _of_audiocraft(source)
    return Facts(48_000, False, segments=(48_000, 47_520)) if group_norm else Facts(24_000, True)


def _of_transformers(source: Source) -> Facts:
    """The facts of a config.json. Raises ModelError for those of a network that is not built here."""
    config, rate = source.config, source.integer("sampling_rate")
    zeros = _choice(source, "pad_mode", config.get("pad_mode", "reflect"), PADS)
    causal = _choice(source, "use_causal_conv", config.get("use_causal_conv", True), {True: True, False: False})
    _choice(source, "trim_right_ratio", config.get("trim_right_ratio", 1.0), {1.0: True})
    seconds: Any = config.get("chunk_length_s")
    overlap: Any = config.get("overlap")
    if bool(config.get("normalize")) != (seconds is not None):
        raise ModelError(f"expected segments in {source.path} to be normalized, and only these, got one of the two")
    if seconds is None:
        return Facts(rate, causal, zeros)
    numbers = all(type(value) in (int, float) for value in (seconds, overlap))
    if not numbers or not 0 < seconds < 1000 or not 0 <= overlap < 1:
        given = f"{shortened(seconds)} and {shortened(overlap)}"
        raise ModelError(f"expected chunk_length_s and overlap of {source.path} as numbers, got {given}")
    segment = int(seconds * rate)
    return Facts(rate, causal, zeros, (segment, max(1, int((1.0 - overlap) * segment))))


def _of_audiocraft(source: Source) -> Facts:
    """The facts of the settings that audiocraft exports with the weights, as YAML."""
    text = source.values["xp.cfg"]
    try:
        settings = read_yaml(text) if isinstance(text, str) else None
    except (ValueError, RecursionError) as error:
        raise ModelError(f"the settings in {source.path} cannot be read as YAML: {shortened(str(error))}") from error
    settings = settings if isinstance(settings, dict) else {}
    encodec, seanet = settings.get("encodec"), settings.get("seanet")
    if not isinstance(encodec, dict) or not isinstance(seanet, dict):
        raise ModelError(f"expected settings of EnCodec as 'xp.cfg' in {source.path}, got {shortened(text)}")
    rate = settings.get("sample_rate")
    if type(rate) is not int:
        raise ModelError(f"expected an integer as sample_rate of {source.path}, got {shortened(rate)}")
    _choice(source, "renormalize", encodec.get("renormalize", False), {False: True})
    causal = _choice(source, "causal", encodec.get("causal"), {True: True, False: False})
    return Facts(rate, causal, _choice(source, "pad_mode", seanet.get("pad_mode", "reflect"), PADS))


def _choice(source: Source, name: str, value: object, choices: Mapping[Any, bool]) -> bool:
    """What a value of the config stands for. Raises ModelError for one that is not among the choices."""
    for known, meaning in choices.items():
        if type(value) is type(known) and value == known:
            return meaning
    expected = " or ".join(repr(known) for known in choices)
    raise ModelError(f"expected {name} of {source.path} to be {expected}, got {shortened(value)}")


FAMILY = EnCodec()
