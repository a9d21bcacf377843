"""Vocos (github.com/gemelo-ai/vocos; code and weights under the MIT licence).

`pytorch_model.bin` is read, and the `config.yaml` beside it. A model of mel spectra encodes audio to continuous
latents: natural logarithms of mel bands, without the frame at the end of the recording that the package has in
addition. A model of EnCodec's codes has no encoder: it decodes 2, 4, 8 or 16 codebooks of EnCodec at 24 kHz.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from torch import Tensor

from narrows.checkpoints.families.family import Family
from narrows.checkpoints.families.keys import renamed, with_codebook_states
from narrows.checkpoints.families.source import Source
from narrows.codecs.audio.vocos import AdaptiveVocosDecoder, LogMelEncoder, VocosDecoder
from narrows.codecs.bottlenecks.identity import Identity
from narrows.codecs.bottlenecks.residual import Residual
from narrows.codecs.bottlenecks.vq import VQ
from narrows.codecs.codec import Codec
from narrows.codecs.one_way import NoEncoder
from narrows.codecs.quantization.codebooks import LearnedCodebook
from narrows.codecs.quantization.estimators import StraightThrough
from narrows.errors import ModelError, shortened
from narrows.tokenizers.audio import AudioTokenizer

CLASSES = {  # what each part of the config may be
    "feature_extractor": (
        "vocos.feature_extractors.MelSpectrogramFeatures",
        "vocos.feature_extractors.EncodecFeatures",
    ),
    "backbone": ("vocos.models.VocosBackbone",),
    "head": ("vocos.heads.ISTFTHead",),
}
ENCODEC_RATE, ENCODEC_HOP, ENCODEC_BITS = 24_000, 320, 10  # Hz, samples of a frame, bits of a code
MAX_CODEBOOKS = 32
CODEBOOKS = "feature_extractor.codebook_weights"
RULES = [
    (r"backbone\.(.+)", r"decoder.\1"),
    (r"head\.out\.(\w+)", r"decoder.head.out.\1"),
    (r"feature_extractor\.codebook_weights", CODEBOOKS),
    (r"head\.istft\.window", None),
    (r"feature_extractor\.mel_spec\..+", None),  # constants
    (r"feature_extractor\.encodec\..+", None),  # the codec that made the codes
]


class Vocos(Family):
    """Vocos for mel spectra and for EnCodec's codes."""

    name = "vocos"

    def recognises(self, source: Source) -> bool:
        """By the classes that the config names."""
        return all(str(_part(source, name).get("class_path", "")).startswith("vocos.") for name in CLASSES)

    def tokenizer(self, source: Source) -> AudioTokenizer:
        """The tokenizer of a config.yaml."""
        for name, known in CLASSES.items():
            if (found := _part(source, name).get("class_path")) not in known:
                raise ModelError(f"expected {' or '.join(known)} as {name} of {source.path}, got {shortened(found)}")
        backbone, head = _arguments(source, "backbone"), _arguments(source, "head")
        dim, width, hidden, depth = (
            _integer(source, backbone, name) for name in ("input_channels", "dim", "intermediate_dim", "num_layers")
        )
        n_fft, hop = _integer(source, head, "n_fft"), _integer(source, head, "hop_length")
        centred = _is_centred(source, head, "same")
        if _is_mel(source):
            if backbone.get("adanorm_num_embeddings") is not None:
                raise ModelError(f"expected no adanorm_num_embeddings of a model of mel spectra in {source.path}")
            features = _arguments(source, "feature_extractor")
            rate = _integer(source, features, "sample_rate", 24_000)
            encoder = LogMelEncoder(
                _integer(source, features, "n_mels", 100),
                rate,
                _integer(source, features, "n_fft", 1024),
                _integer(source, features, "hop_length", 256),
                _is_centred(source, features, "center"),
            )
            codec = Codec(encoder, Identity(dim), VocosDecoder(dim, width, hidden, depth, n_fft, hop, centred))
            tokenizer = AudioTokenizer(codec, rate)
            tokenizer.name = f"vocos-mel-{rate // 1000}khz"
            return tokenizer
        groups = _groups(source)
        qualities = _integer(source, backbone, "adanorm_num_embeddings")
        decoder = AdaptiveVocosDecoder(dim, width, hidden, depth, n_fft, hop, centred, qualities)
        entries = len(source.tensors[CODEBOOKS]) // sum(groups) if CODEBOOKS in source.tensors else 1024
        stages = [Residual(dim, [_vq(dim, entries) for _ in range(count)], 0.0) for count in groups]
        tokenizer = AudioTokenizer(Codec(NoEncoder(1, dim, (hop,)), Residual(dim, stages), decoder), ENCODEC_RATE)
        tokenizer.name = "vocos-encodec-24khz"
        return tokenizer

    def weights(self, source: Source) -> dict[str, Tensor]:
        """The backbone and the head are the decoder; the codebooks are rows of one matrix."""
        tensors = renamed(source, RULES)
        if not _is_mel(source) and CODEBOOKS in tensors:
            groups = _groups(source)
            books = tensors.pop(CODEBOOKS).chunk(sum(groups))
            places = [(stage, place) for stage, count in enumerate(groups) for place in range(count)]
            for (stage, place), book in zip(places, books, strict=True):
                tensors[f"bottleneck.stages.{stage}.stages.{place}.codebook.vectors"] = book.clone()
        return with_codebook_states(tensors)


def _vq(dim: int, entries: int) -> VQ:
    return VQ(dim, LearnedCodebook(dim, entries), StraightThrough())


def _part(source: Source, name: str) -> Mapping[str, Any]:
    value = source.config.get(name)
    return value if isinstance(value, Mapping) else {}


def _arguments(source: Source, name: str) -> Mapping[str, Any]:
    value = _part(source, name).get("init_args")
    return value if isinstance(value, Mapping) else {}


def _is_mel(source: Source) -> bool:
    return _part(source, "feature_extractor").get("class_path") == CLASSES["feature_extractor"][0]


def _integer(source: Source, arguments: Mapping[str, Any], name: str, default: int | None = None) -> int:
    value = arguments.get(name, default)
    if type(value) is not int:
        raise ModelError(f"expected an integer as {name} in the config of {source.path}, got {shortened(value)}")
    return value


def _is_centred(source: Source, arguments: Mapping[str, Any], default: str) -> bool:
    value = arguments.get("padding", default)
    if value not in ("center", "same"):
        raise ModelError(f"expected center or same as padding in the config of {source.path}, got {shortened(value)}")
    return bool(value == "center")


def _groups(source: Source) -> list[int]:
    """Numbers of codebooks that each bandwidth of EnCodec, in kbit/s, has in addition to the one before."""
    features = _arguments(source, "feature_extractor")
    if (name := features.get("encodec_model", "encodec_24khz")) != "encodec_24khz":
        raise ModelError(
            f"expected encodec_24khz as encodec_model in the config of {source.path}, got {shortened(name)}"
        )
    bandwidths = features.get("bandwidths", [1.5, 3.0, 6.0, 12.0])
    per_codebook = ENCODEC_RATE / ENCODEC_HOP * ENCODEC_BITS / 1000  # kbit/s
    numbers = isinstance(bandwidths, list) and all(
        type(value) in (int, float) and 0 < value < 100 for value in bandwidths
    )
    counts = [0, *(int(value / per_codebook) for value in bandwidths)] if numbers else []
    groups = [after - before for before, after in pairwise(counts)]
    if not groups or min(groups) < 1 or sum(groups) > MAX_CODEBOOKS:
        raise ModelError(
            f"expected increasing bandwidths of EnCodec in the config of {source.path}, got {shortened(bandwidths)}"
        )
    return groups


FAMILY = Vocos()
