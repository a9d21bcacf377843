"""The speech tokenizer of GLM-4-Voice (github.com/THUDM/GLM-4-Voice; the weights under the licence of the model).

It is an encoder alone: what decodes its tokens is another model. The checkpoint of the authors is read: config.json and
safetensors. Of a whole Whisper that is in it, the layers up to the codebook are used, and the others left out.
"""

import torch
from torch import Tensor

from narrows.checkpoints.families.family import Family
from narrows.checkpoints.families.keys import renamed
from narrows.checkpoints.families.source import Source
from narrows.codecs.audio.glm_voice import GLMVoiceEncoder
from narrows.codecs.bottlenecks.vq import VQ
from narrows.codecs.codec import Codec
from narrows.codecs.layers.whisper import RATE
from narrows.codecs.one_way import NoDecoder
from narrows.codecs.quantization.codebooks import EMACodebook
from narrows.errors import ModelError, shortened
from narrows.tokenizers.audio import AudioTokenizer

E = r"(?:model\.encoder\.)?"
LAYER = rf"{E}layers\.(\d+)\."
RULES = [
    (r"model\.decoder\..+|proj_out\..+", None),  # of Whisper
    (rf"{E}layer_norm\.\w+|{E}embed_positions2\..+", None),  # after the codebook
    (rf"{E}(conv[12]\.\w+)", r"encoder.\1"),
    (rf"{E}embed_positions\.weight", "encoder.positions"),
    (rf"{LAYER}self_attn_layer_norm\.(\w+)", r"encoder.blocks.\1.attn_ln.\2"),
    (rf"{LAYER}self_attn\.q_proj\.(\w+)", r"encoder.blocks.\1.attn.query.\2"),
    (rf"{LAYER}self_attn\.k_proj\.(\w+)", r"encoder.blocks.\1.attn.key.\2"),
    (rf"{LAYER}self_attn\.v_proj\.(\w+)", r"encoder.blocks.\1.attn.value.\2"),
    (rf"{LAYER}self_attn\.out_proj\.(\w+)", r"encoder.blocks.\1.attn.out.\2"),
    (rf"{LAYER}final_layer_norm\.(\w+)", r"encoder.blocks.\1.mlp_ln.\2"),
    (rf"{LAYER}fc1\.(\w+)", r"encoder.blocks.\1.mlp.0.\2"),
    (rf"{LAYER}fc2\.(\w+)", r"encoder.blocks.\1.mlp.2.\2"),
    (rf"{E}codebook\.weight", "bottleneck.codebook.vectors"),
    (rf"{E}ema_weight", "bottleneck.codebook.sums"),
    (rf"{E}ema_count", "bottleneck.codebook.usage"),
]
SAME = {  # of the config, in the published model
    "pooling_type": "avg",
    "encoder_causal_convolution": True,
    "encoder_causal_attention": False,
    "quantize_causal_encoder": False,
    "activation_function": "gelu",
}


class GLMVoice(Family):
    """The speech tokenizer of GLM-4-Voice."""

    name = "glm_voice"

    def recognises(self, source: Source) -> bool:
        """By the codebook in the encoder of a Whisper."""
        return source.config.get("quantize_vocab_size") is not None and source.has(rf"{E}codebook\.weight")

    def tokenizer(self, source: Source) -> AudioTokenizer:
        """The tokenizer of a config.json."""
        for name, value in SAME.items():
            if source.config.get(name, value) != value:
                raise ModelError(f"expected {name} {value!r} in {source.path}, got {shortened(source.config[name])}")
        depth = source.integer("quantize_position")
        if source.integer("pooling_position") != depth:
            raise ModelError(f"expected pooling_position {depth}, as quantize_position, in the config of {source.path}")
        width = source.integer("d_model")
        encoder = GLMVoiceEncoder(
            width,
            depth,
            source.integer("encoder_attention_heads"),
            source.integer("num_mel_bins"),
            source.integer("quantize_causal_block_size"),
            source.integer("pooling_kernel_size"),
        )
        bottleneck = VQ(width, EMACodebook(width, source.integer("quantize_vocab_size")))
        tokenizer = AudioTokenizer(Codec(encoder, bottleneck, NoDecoder(1, width, encoder.stride)), RATE)
        tokenizer.name = "glm-4-voice-tokenizer"
        return tokenizer

    def weights(self, source: Source) -> dict[str, Tensor]:
        """Without the layers after the codebook."""
        depth = source.integer("quantize_position")
        tensors = {
            name: tensor
            for name, tensor in renamed(source, RULES).items()
            if not name.startswith("encoder.blocks.") or int(name.split(".")[2]) < depth
        }
        if (vectors := tensors.get("bottleneck.codebook.vectors")) is not None:
            stem = "bottleneck.codebook."
            of_training = {"initialized": torch.tensor(True), "sums": vectors, "usage": torch.ones(len(vectors))}
            tensors = {stem + key: value for key, value in of_training.items()} | tensors
        return tensors


FAMILY = GLMVoice()
