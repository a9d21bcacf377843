"""X-Codec 2 (github.com/zhenye234/X-Codec-2.0) and NeuCodec (github.com/neuphonic/neucodec).

The weights of X-Codec 2 are under CC-BY-NC 4.0, those of NeuCodec under Apache 2.0. Read are files of the authors
(`model.safetensors` of X-Codec 2, `pytorch_model.bin` of NeuCodec) and of transformers' Xcodec2Model and NeuCodecModel.
Encoding needs transformers, which has w2v-BERT. The distilled NeuCodec has another encoder, and is not read.

NeuCodec decodes to 24 kHz what it encodes at 16 kHz: its tokenizer is one of 24 kHz, and the encoder resamples.

Semantic features are normalized over the recording, so the zeros at its end count. The authors add at least one sample
of zeros up to a whole latent; here only a recording that does not end with a latent gets some. NeuCodec's authors drop
the last latent that they began, here there is one for all samples.
"""

import re

import torch
from torch import Tensor

from narrows.checkpoints.families.family import Family
from narrows.checkpoints.families.keys import Shapes, channelwise, renamed
from narrows.checkpoints.families.source import Source
from narrows.codecs.audio.w2v_bert import W2VBert
from narrows.codecs.audio.xcodec2 import XCodec2Decoder, XCodec2Encoder
from narrows.codecs.bottlenecks.fsq import TwiceBoundedFSQ
from narrows.codecs.codec import Codec
from narrows.codecs.layers.kaldi import RATE
from narrows.errors import ModelError
from narrows.tokenizers.audio import AudioTokenizer

HEAD = 64  # channels of a head of the decoder, in files of the authors
LATENT = 320  # samples of a latent at 16 kHz
SEMANTIC_LAYERS = 16  # of w2v-BERT, of 24 in files of the authors
LEVELS = 4  # of each scalar
MAX_STAGES = 12
WITHOUT_PLACE = r"(?:fc_post_s|SemanticDecoder|discriminator|spec_discriminator|perception_model)"  # for training
P = r"(?:state_dict\.)?(?:model\.)?"  # before the names in files of the authors
UNIT = {"snake1.act": "0.act", "conv1": "1", "snake2.act": "2.act", "conv2": "3"}  # layers of a residual unit
AUTHORS = [
    (rf"{P}{WITHOUT_PLACE}.*", None),
    (r".+\.filter", None),  # of the activations: constants
    (rf"{P}CodecEnc\.(conv_(?:blocks|final_block)\..+)", r"encoder.\1"),
    (rf"{P}SemanticEncoder_module\.(.+)", r"encoder.adapter.\1"),
    (rf"{P}semantic_model\.(?:masked_spec_embed|encoder\.layers\.(?:1[6-9]|2\d)\..+)", None),
    (rf"{P}semantic_model\.(.+)", r"encoder.semantic.model.\1"),
    (rf"{P}fc_prior\.(\w+)", r"encoder.fc_prior.\1"),
    (rf"{P}fc_post_a\.(\w+)", r"decoder.fc_post_a.\1"),
    (rf"{P}generator\.quantizer\.project_(in|out)\.(\w+)", r"bottleneck.project_\1.\2"),
    (rf"{P}generator\.backbone\.(.+)", r"decoder.\1"),
    (rf"{P}generator\.head\.out\.(\w+)", r"decoder.head.out.\1"),
    (rf"{P}generator\.head\.istft\.window", None),
]
TRANSFORMERS = [
    (r"semantic_encoder\.masked_spec_embed", None),
    (r"semantic_encoder\.(.+)", r"encoder.semantic.model.\1"),
    (r"semantic_adapter\.conv1\.(\w+)", r"encoder.adapter.initial_conv.\1"),
    (r"semantic_adapter\.conv2\.(\w+)", r"encoder.adapter.residual_blocks.1.\1"),
    (r"semantic_adapter\.conv3\.(\w+)", r"encoder.adapter.residual_blocks.3.\1"),
    (r"semantic_adapter\.conv4\.(\w+)", r"encoder.adapter.final_conv.\1"),
    (r"acoustic_encoder\.conv1\.(\w+)", r"encoder.conv_blocks.0.\1"),
    (r"acoustic_encoder\.snake1\.(.+)", r"encoder.conv_final_block.0.\1"),
    (r"acoustic_encoder\.conv2\.(\w+)", r"encoder.conv_final_block.1.\1"),
    (r"fc_encoder\.(\w+)", r"encoder.fc_prior.\1"),
    (r"quantizer\.project_(in|out)\.(\w+)", r"bottleneck.project_\1.\2"),
    (r"acoustic_decoder\.fc\.(\w+)", r"decoder.fc_post_a.\1"),
    (r"acoustic_decoder\.((?:embed|prior_net|post_net)\..+)", r"decoder.\1"),
    (r"acoustic_decoder\.norm\.(\w+)", r"decoder.final_layer_norm.\1"),
    (r"acoustic_decoder\.head\.linear\.(\w+)", r"decoder.head.out.\1"),
    (r"acoustic_decoder\.layers\.(\d+)\.input_layernorm\.(\w+)", r"decoder.transformers.\1.att_norm.\2"),
    (r"acoustic_decoder\.layers\.(\d+)\.post_attention_layernorm\.(\w+)", r"decoder.transformers.\1.ffn_norm.\2"),
    (r"acoustic_decoder\.layers\.(\d+)\.self_attn\.o_proj\.(\w+)", r"decoder.transformers.\1.att.c_proj.\2"),
    (r"acoustic_decoder\.layers\.(\d+)\.self_attn\.(\w)_proj\.(\w+)", r"decoder.transformers.\1.att.\2.\3"),
    (r"acoustic_decoder\.layers\.(\d+)\.mlp\.(.+)", r"decoder.transformers.\1.mlp.\2"),
    *(
        rule
        for stage in range(MAX_STAGES)
        for rule in (
            *(
                (
                    rf"acoustic_encoder\.block\.{stage}\.res_unit{unit + 1}\.{re.escape(layer)}\.(\w+)",
                    rf"encoder.conv_blocks.{stage + 1}.block.{unit}.block.{place}.\1",
                )
                for unit in range(3)
                for layer, place in UNIT.items()
            ),
            (
                rf"acoustic_encoder\.block\.{stage}\.snake1\.(.+)",
                rf"encoder.conv_blocks.{stage + 1}.block.3.\1",
            ),
            (rf"acoustic_encoder\.block\.{stage}\.conv1\.(\w+)", rf"encoder.conv_blocks.{stage + 1}.block.4.\1"),
        )
    ),
]


class XCodec2(Family):
    """X-Codec 2 for 16 kHz, and NeuCodec for 24 kHz."""

    name = "xcodec2"

    def recognises(self, source: Source) -> bool:
        """By the type in transformers' config, or by the names of the tensors in a file of the authors."""
        return source.has(rf"{P}CodecEnc\.conv_blocks\.") or (
            source.config.get("model_type") in ("xcodec2", "neucodec") and source.has(r"acoustic_decoder\.")
        )

    def tokenizer(self, source: Source) -> AudioTokenizer:
        """The tokenizer of the sizes of the tensors. Only the number of heads is in the config, if there is one."""
        shapes = Shapes(source, self.weights(source))
        width, *_ = shapes.of("encoder.conv_blocks.0.weight", 3)
        acoustic, *_ = shapes.of("encoder.conv_final_block.1.weight", 3)
        scalars, dim = shapes.of("bottleneck.project_in.weight", 2)
        channels, _ = shapes.of("decoder.fc_post_a.weight", 2)
        hidden, _ = shapes.of("decoder.transformers.0.mlp.fc1.weight", 2)
        outputs, _ = shapes.of("decoder.head.out.weight", 2)
        hop = (outputs - 2) // 4
        rate = hop * RATE // LATENT
        heads = source.integer("num_attention_heads") if _of_transformers(source) else channels // HEAD
        depth = shapes.count(r"decoder\.transformers\.(\d+)\..+")
        strides = shapes.strides(r"encoder\.conv_blocks\.(\d+)\.block\.4\.weight")
        encoder = XCodec2Encoder(width, strides, acoustic, _semantic(shapes), rate, rate == RATE)
        codec = Codec(
            encoder,
            TwiceBoundedFSQ(dim, (LEVELS,) * scalars),
            XCodec2Decoder(dim, channels, depth, heads, hidden, hop),
        )
        tokenizer = AudioTokenizer(codec, rate)
        tokenizer.name = "xcodec2-16khz" if rate == RATE else "neucodec"
        return tokenizer

    def weights(self, source: Source) -> dict[str, Tensor]:
        """The authors' names are those of the networks here; queries, keys and values of transformers are joined."""
        tensors = renamed(source, TRANSFORMERS if _of_transformers(source) else AUTHORS)
        for name in [name for name in tensors if name.endswith(".att.q.weight")]:
            stem = name.removesuffix("q.weight")
            parts = [tensors.pop(f"{stem}{part}.weight", None) for part in "qkv"]
            if any(part is None for part in parts):
                raise ModelError(f"expected queries, keys and values of {stem} in {source.path}, got a part of them")
            tensors[f"{stem}c_attn.weight"] = torch.cat([part for part in parts if part is not None])
        return channelwise(tensors)


def _of_transformers(source: Source) -> bool:
    return source.has(r"acoustic_decoder\.")


def _semantic(shapes: Shapes) -> W2VBert:
    stem = "encoder.semantic.model.encoder.layers.0"
    hidden, width = shapes.of(f"{stem}.ffn1.intermediate_dense.weight", 2)
    _, head = shapes.of(f"{stem}.self_attn.distance_embedding.weight", 2)
    layers = shapes.count(r"encoder\.semantic\.model\.encoder\.layers\.(\d+)\..+")
    return W2VBert(min(layers, SEMANTIC_LAYERS), width, width // max(1, head), hidden)


FAMILY = XCodec2()
