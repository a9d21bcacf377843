"""X-Codec (github.com/zhenye234/xcodec) and the tokenizer of Higgs Audio v2 (github.com/boson-ai/higgs-audio).

Read are files of transformers' XcodecModel and HiggsAudioV2TokenizerModel, and of the authors under their own names of
tensors (these by names alone: their code is not among the tests). Weights of X-Codec in transformers are under
CC-BY-4.0, those of Higgs Audio under a licence of Boson AI with a limit on the number of users. Encoding needs
transformers, which has HuBERT and WavLM; what the decoder of semantic features learned from is left out.

A recording is padded to a whole latent before it is encoded. The authors encode what there is, and decode up to 280
samples less. HuBERT sees the zeros at the end.
"""

import torch
from torch import Tensor

from narrows.checkpoints.families.dac import layout
from narrows.checkpoints.families.family import Family
from narrows.checkpoints.families.keys import Shapes, channelwise, renamed
from narrows.checkpoints.families.source import Source
from narrows.codecs.audio.hubert import HuBERT, WavLM
from narrows.codecs.audio.xcodec import XCodecDecoder, XCodecEncoder
from narrows.codecs.bottlenecks.residual import Residual
from narrows.codecs.bottlenecks.vq import VQ
from narrows.codecs.codec import Codec
from narrows.codecs.quantization.codebooks import EMACodebook
from narrows.codecs.quantization.estimators import StraightThrough
from narrows.errors import ModelError, shortened
from narrows.tokenizers.audio import AudioTokenizer

MAX_STAGES = 12
HEADS = 12  # of attention, where no config has them
RATES = {"xcodec": 16_000, "higgs_audio_v2_tokenizer": 24_000}  # Hz, where the config has none
STATES = {"embed": "vectors", "embed_avg": "sums", "cluster_size": "usage"}  # of a codebook
VQ_NAME = r"quantizer\.(?:quantizers|vq\.layers)\.(\d+)\."
RULES = [
    *((rf"{VQ_NAME}_?codebook\.{theirs}", rf"bottleneck.stages.\1.codebook.{ours}") for theirs, ours in STATES.items()),
    (rf"{VQ_NAME}_?codebook\.inited", None),
    (rf"{VQ_NAME}project_in\.(\w+)", r"bottleneck.stages.\1.projection.down_map.\2"),
    (rf"{VQ_NAME}project_out\.(\w+)", r"bottleneck.stages.\1.projection.up_map.\2"),
    (r"semantic_model\.masked_spec_embed", None),
    (r"semantic_model\.(.+)", r"encoder.hubert.model.\1"),
    (r"encoder_semantic\.(.*?\.)??(conv\d?)(?:\.conv)?\.(weight|bias)", r"encoder.adapter.\1\2.\3"),
    (r"(?:decoder_semantic|fc1|fc_post1)\..+", None),  # for training
    (r"(?:fc|fc_prior)\.(\w+)", r"encoder.fc.\1"),
    (r"(?:fc2|fc_post2)\.(\w+)", r"decoder.fc2.\1"),
    (r"encoder\.(block\..+)", r"encoder.acoustic.\1"),
    (r"decoder_2\.(model\..+)", r"decoder.\1"),
]
FIXED = {
    "channel_ratios": [1, 1],
    "strides": [1, 1],
    "block_dilations": [1, 1],
    "kernel_size": 3,
    "unit_kernel_size": 3,
}


class XCodec(Family):
    """X-Codec for 16 kHz, and the tokenizer of Higgs Audio v2 for 24 kHz."""

    name = "xcodec"

    def recognises(self, source: Source) -> bool:
        """By the names of the tensors."""
        return source.has(r"encoder_semantic\.conv_blocks\.") and source.has(r"semantic_model\.feature_extractor\.")

    def tokenizer(self, source: Source) -> AudioTokenizer:
        """The tokenizer of the sizes of the tensors; rates and numbers of heads are those of the config."""
        for name, value in FIXED.items():
            given = source.config.get(name, value)
            if (list(given) if isinstance(given, list | tuple) else given) != value:
                raise ModelError(f"expected {name} {value} in the config of {source.path}, got {shortened(given)}")
        shapes = Shapes(source, self.weights(source))
        width, *_ = shapes.of("encoder.acoustic.block.0.weight", 3)
        widest, acoustic, _ = shapes.of("decoder.model.0.weight", 3)
        _, dim = shapes.of("decoder.fc2.weight", 2)
        entries, code_dim = shapes.of("bottleneck.stages.0.codebook.vectors", 2)
        codebooks = shapes.count(r"bottleneck\.stages\.(\d+)\.codebook\.vectors")
        downs = shapes.strides(r"encoder\.acoustic\.block\.(\d+)\.block\.4\.weight")
        ups = shapes.strides(r"decoder\.model\.(\d+)\.block\.1\.weight")
        is_higgs = shapes.has("bottleneck.stages.0.projection.down_map.weight")
        default = RATES["higgs_audio_v2_tokenizer" if is_higgs else "xcodec"]
        rate = source.integer("sample_rate") if "sample_rate" in source.config else default
        stages = [VQ(dim, EMACodebook(code_dim, entries), StraightThrough()) for _ in range(codebooks)]
        codec = Codec(
            XCodecEncoder(width, downs, acoustic, _semantic(source, shapes), rate),
            Residual(dim, stages),
            XCodecDecoder(widest, ups, acoustic, dim),
        )
        tokenizer = AudioTokenizer(codec, rate)
        tokenizer.name = "higgs-audio-v2" if is_higgs else "xcodec-16khz"
        return tokenizer

    def weights(self, source: Source) -> dict[str, Tensor]:
        """The authors' names are nearly those of the networks; transformers has those of its DacModel."""
        rules = list[tuple[str, str | None]](RULES)
        if source.has(r"acoustic_encoder\."):
            stages = Shapes(source, source.tensors).count(r"acoustic_encoder\.block\.(\d+)\..+")
            places = {"encoder": "encoder.acoustic", "decoder": "decoder"}
            for pattern, target in layout(min(stages, MAX_STAGES)):
                side = pattern[:7]
                rules.append((f"acoustic_{pattern}", target.replace(side, places[side], 1)))
        tensors = channelwise(renamed(source, rules))
        for name in [name for name in tensors if name.endswith("codebook.vectors")]:
            tensors[name.replace("vectors", "initialized")] = torch.tensor(True)
        return tensors


def _semantic(source: Source, shapes: Shapes) -> HuBERT:
    stem = "encoder.hubert.model"
    hidden, width = shapes.of(f"{stem}.encoder.layers.0.feed_forward.intermediate_dense.weight", 2)
    channels, *_ = shapes.of(f"{stem}.feature_extractor.conv_layers.0.conv.weight", 3)
    layers = shapes.count(rf"{stem}\.encoder\.layers\.(\d+)\..+".replace("encoder.hubert", r"encoder\.hubert"))
    config = source.config.get("semantic_model_config")
    heads = config.get("num_attention_heads", HEADS) if isinstance(config, dict) else HEADS
    kind = WavLM if shapes.has(f"{stem}.encoder.layers.0.attention.rel_attn_embed.weight") else HuBERT
    return kind(layers, width, heads, hidden, channels)


FAMILY = XCodec()
