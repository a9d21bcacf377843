"""Mimi, the codec of Moshi (github.com/kyutai-labs/moshi; weights under CC-BY 4.0).

Files of the authors are read (`tokenizer-e351c8d8-checkpoint125.safetensors`), and those of transformers' MimiModel, of
old and new versions. Sizes are those of the tensors; the config, where there is one, says what they cannot show.

A recording gets zeros up to a whole frame, as in the authors' package. In transformers every layer pads on its own, so
that the last codes may differ there where the length is no multiple of 1,920 samples. Streams of the authors' package
overwrite keys that are still in the window, so that after 10 seconds they differ from the whole; here they do not.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from narrows.checkpoints.families.family import Family
from narrows.checkpoints.families.keys import Shapes, pointwise_to_linear, renamed
from narrows.checkpoints.families.source import Source
from narrows.codecs.audio.mimi import MimiDecoder, MimiEncoder
from narrows.codecs.bottlenecks.residual import ResidualVQ
from narrows.codecs.bottlenecks.split import SplitResidualVQ
from narrows.codecs.codec import Codec
from narrows.codecs.layers.causal_transformer import PERIOD
from narrows.codecs.quantization.codebooks import MIN_USAGE
from narrows.errors import ModelError, shortened
from narrows.tokenizers.audio import AudioTokenizer

HEADS, WINDOW, RATE = 8, 250, 24_000  # of the authors' model, whose file does not say
LAYER = r"(?:(?:en|de)coder\.)?((?:en|de)coder)_transformer\.(?:transformer\.)?layers\.(\d+)\."
NAMES = [  # of the tensors of a transformer layer
    (r"(?:input_layernorm|norm1)\.(\w+)", r"norm1.\3"),
    (r"(?:post_attention_layernorm|norm2)\.(\w+)", r"norm2.\3"),
    (r"(?:self_attn_layer_scale|layer_scale_1)\.scale", "scale1"),
    (r"(?:mlp_layer_scale|layer_scale_2)\.scale", "scale2"),
    (r"(?:mlp\.fc|linear)([12])\.weight", r"linear\3.weight"),
    (r"self_attn\.(?:in_proj_weight|in_proj\.weight|in_projs\.0\.weight)", "self_attn.in_proj.weight"),
    (r"self_attn\.([qkv])_proj\.weight", r"self_attn.\3_proj.weight"),
    (r"self_attn\.(?:o_proj|out_proj|out_projs\.0)\.weight", "self_attn.out_proj.weight"),
]
BRANCHES = {
    "semantic": r"quantizer\.(?:semantic_residual_vector_quantizer|rvq_first)",
    "acoustic": r"quantizer\.(?:acoustic_residual_vector_quantizer|rvq_rest)",
}
CODEBOOK = {"embed(?:ding)?_sum": "sums", "cluster_usage": "usage", "_?initialized": "initialized"}
RULES = [
    (r"((?:en|de)coder)\.(?:(?:en|de)coder_seanet\.)?layers\.(.+)\.conv\.(\w+)", r"\1.layers.\2.\3"),
    (r"((?:en|de)coder)\.model\.(.+)\.(?:conv\.conv|convtr\.convtr)\.(\w+)", r"\1.layers.\2.\3"),
    (r"(?:encoder\.)?downsample\.(?:conv\.)+weight", "encoder.downsample.weight"),
    (r"(?:decoder\.)?upsample\.(?:conv|convtr\.convtr\.convtr)\.weight", "decoder.upsample.weight"),
    *((LAYER + theirs, rf"\1.transformer.\2.{ours}") for theirs, ours in NAMES),
    *(
        (rf"{theirs}\.{side}put_proj\.weight", f"bottleneck.{ours}.projection.{way}_map.weight")
        for ours, theirs in BRANCHES.items()
        for side, way in (("in", "down"), ("out", "up"))
    ),
    *(
        (rf"{branch}\.(?:vq\.)?layers\.(\d+)\._?codebook\.{theirs}", rf"bottleneck.{ours}.stages.\1.codebook.{value}")
        for ours, branch in BRANCHES.items()
        for theirs, value in CODEBOOK.items()
    ),
]
SAME = {  # of transformers' config, in the published model
    "use_causal_conv": True,
    "use_conv_shortcut": False,
    "pad_mode": "constant",
    "trim_right_ratio": 1.0,
    "hidden_act": "gelu",
    "norm_eps": 1e-5,
    "rope_theta": PERIOD,
    "attention_bias": False,
}


class Mimi(Family):
    """Mimi for 24 kHz."""

    name = "mimi"

    def recognises(self, source: Source) -> bool:
        """By the type in transformers' config, or by the names of the tensors in a file of the authors."""
        return source.config.get("model_type") == "mimi" or (
            source.has(r"encoder\.model\.0\.conv\.conv\.weight")
            and source.has(r"quantizer\.rvq_first\.vq\.layers\.0\._codebook\.")
        )

    def tokenizer(self, source: Source) -> AudioTokenizer:
        """The tokenizer of a config of transformers; without one, of the model of the authors."""
        config = source.config if source.config.get("model_type") == "mimi" else {}
        _check(source, config)
        tensors = self.weights(source)
        shapes = Shapes(source, tensors)
        width, channels, _ = shapes.of("encoder.layers.0.weight", 3)
        last = shapes.numbers(r"encoder\.layers\.(\d+)\.weight")[-1]
        strides = shapes.seanet_strides(last, "encoder.layers.{}.weight")
        dim, *_ = shapes.of(f"encoder.layers.{last}.weight", 3)
        depth = shapes.count(r"encoder\.transformer\.(\d+)\.norm1\.weight")
        hidden, _ = shapes.of("encoder.transformer.0.linear1.weight", 2)
        heads = source.integer("num_attention_heads") if config else HEADS
        window = source.integer("sliding_window") if config else WINDOW
        sizes = dim, width, strides, depth, heads, hidden, window, channels
        entries, code_dim = shapes.of("bottleneck.semantic.stages.0.codebook.vectors", 2)
        branches = [
            ResidualVQ(dim, shapes.count(rf"bottleneck\.{branch}\.stages\.(\d+)\..+"), entries, code_dim)
            for branch in BRANCHES
        ]
        codec = Codec(MimiEncoder(*sizes), SplitResidualVQ(*branches), MimiDecoder(*sizes))
        tokenizer = AudioTokenizer(codec, source.integer("sampling_rate") if config else RATE)
        tokenizer.name = "mimi"
        return tokenizer

    def weights(self, source: Source) -> dict[str, Tensor]:
        """Codes are the sums of an EMA by their usage. Linear maps of the quantizers have no biases there: zeros."""
        tensors = pointwise_to_linear(renamed(source, RULES), r"\.projection\.")
        heads = source.config.get("num_attention_heads")
        for name, tensor in list(tensors.items()):
            stem, _, value = name.rpartition(".")
            if value == "initialized" and tensor.numel() == 1:
                tensors[name] = tensor.bool().reshape(())
            elif value == "sums" and (usage := tensors.get(f"{stem}.usage")) is not None:
                if usage.shape != tensor.shape[:1]:
                    raise ModelError(f"expected {len(tensor)} numbers in {stem}.usage of {source.path}, got others")
                tensors[f"{stem}.vectors"] = tensor / usage.clamp(min=MIN_USAGE)[:, None]
            elif ".projection." in name:
                tensors[f"{stem}.bias"] = torch.zeros(len(tensor))
            elif stem.endswith("self_attn.q_proj"):
                parts = {part: name.replace("q_proj", f"{part}_proj") for part in "qkv"}
                if any(other not in tensors for other in parts.values()):
                    raise ModelError(f"expected q_proj, k_proj and v_proj beside {name} in {source.path}, got fewer")
                q, k, v = (tensors.pop(other) for other in parts.values())
                joined = torch.cat((_interleaved(q, heads), _interleaved(k, heads), v))
                tensors[name.replace("q_proj", "in_proj")] = joined
        return tensors


def _check(source: Source, config: Mapping[str, object]) -> None:
    """Raise ModelError for a config of a network that is not built here."""
    same = dict(SAME)
    rope = config.get("rope_parameters")
    given = dict(config) | (rope if isinstance(rope, dict) else {})
    if config:
        same |= {"num_key_value_heads": given.get("num_attention_heads"), "rope_type": "default"}
    for name, value in same.items():
        if given.get(name, value) != value:
            raise ModelError(f"expected {name} of {source.path} to be {shortened(value)}, got {shortened(given[name])}")


def _interleaved(weight: Tensor, heads: object) -> Tensor:
    """Rows of queries or keys in pairs. In transformers, those that are rotated together are half a head apart."""
    if type(heads) is not int or heads < 1 or len(weight) % (2 * heads):
        raise ModelError(f"expected num_attention_heads that divide {len(weight)} into pairs, got {shortened(heads)}")
    return weight.unflatten(0, (heads, 2, -1)).transpose(1, 2).reshape(weight.shape)


FAMILY = Mimi()
