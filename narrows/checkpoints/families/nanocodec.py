"""NanoCodec (NVIDIA NeMo, Apache-2.0; weights under the NVIDIA Open Model License).

`.nemo` files are read, archives of the weights and a config, and safetensors with NeMo's names of tensors. Sizes are
those of the tensors. Discriminators and losses are left out.

In NeMo, an item of a padded batch differs from the item alone, as masked zeros follow its end; here each item is as
alone.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from narrows.checkpoints.families.family import Family
from narrows.checkpoints.families.keys import Shapes, channelwise, renamed
from narrows.checkpoints.families.source import Source
from narrows.codecs.audio.nanocodec import NanoCodecDecoder, NanoCodecEncoder
from narrows.codecs.bottlenecks.channel_fsq import ChannelFSQ
from narrows.codecs.codec import Codec
from narrows.errors import ModelError, shortened
from narrows.tokenizers.audio import AudioTokenizer

RATE = 22_050  # Hz, where the config has none
LEVELS = "vector_quantizer.fsqs.{}.num_levels"
MAX_STAGES = 12
FIXED = {  # options of the networks, with what NeMo takes where they are left out
    "audio_encoder": {"activation": ("lrelu", "lrelu"), "pad_mode": ("replicate", "reflect")},
    "audio_decoder": {
        "activation": ("half_snake", "lrelu"),
        "output_activation": ("clamp", "tanh"),
        "pad_mode": ("zeros", "zeros"),
    },
}


class NanoCodec(Family):
    """NanoCodec for 22.05 kHz."""

    name = "nanocodec"

    def recognises(self, source: Source) -> bool:
        """By the names of the tensors."""
        return source.has(r"audio_encoder\.down_sample_conv_layers\.0\.conv\.") and source.has(
            r"vector_quantizer\.fsqs\.0\.num_levels"
        )

    def tokenizer(self, source: Source) -> AudioTokenizer:
        """The tokenizer of the sizes of the tensors; the sample rate is that of the config."""
        for name, fixed in FIXED.items():
            if (arguments := source.config.get(name)) is None:
                continue
            if not isinstance(arguments, Mapping):
                raise ModelError(f"expected a dictionary as {name} in the config of {source.path}")
            for option, (value, default) in fixed.items():
                if (given := arguments.get(option, default)) != value:
                    raise ModelError(f"expected {option} {value} of {name} in {source.path}, got {shortened(given)}")
        shapes = Shapes(source, source.tensors)
        width, *_ = shapes.of("audio_encoder.pre_conv.conv.weight", 3)
        widest, dim, _ = shapes.of("audio_decoder.pre_conv.conv.weight", 3)
        downs = shapes.strides(r"audio_encoder\.down_sample_conv_layers\.(\d+)\.conv\.weight")
        ups = shapes.strides(r"audio_decoder\.up_sample_conv_layers\.(\d+)\.conv\.weight")
        groups = shapes.count(r"vector_quantizer\.fsqs\.(\d+)\.num_levels")
        levels = [_levels(source, group) for group in range(groups)]
        if any(each != levels[0] for each in levels):
            raise ModelError(f"expected equal levels of all codebooks of {source.path}, got {levels!r:.100}")
        rate = source.integer("sample_rate") if "sample_rate" in source.config else RATE
        codec = Codec(
            NanoCodecEncoder(width, downs, dim), ChannelFSQ(levels[0], groups), NanoCodecDecoder(widest, ups, dim)
        )
        tokenizer = AudioTokenizer(codec, rate)
        tokenizer.name = "nanocodec-" + f"{tokenizer.rate():.2f}".rstrip("0") + "kbps"
        return tokenizer

    def weights(self, source: Source) -> dict[str, Tensor]:
        """Layers here are numbered in the order in which they run."""
        shapes = Shapes(source, source.tensors)
        stages = shapes.count(r"audio_encoder\.down_sample_conv_layers\.(\d+)\..+")
        return channelwise(renamed(source, _rules(min(stages, MAX_STAGES))))


def _levels(source: Source, group: int) -> tuple[int, ...]:
    tensor: Any = source.tensors.get(LEVELS.format(group))
    if tensor is None or tensor.is_floating_point() or not 1 <= tensor.numel() <= 16:
        raise ModelError(f"expected up to 16 integers as {LEVELS.format(group)} of {source.path}")
    return tuple(tensor.flatten().tolist())


def _rules(stages: int) -> list[tuple[str, str | None]]:
    unit = r"res_blocks\.(\d+)\.res_blocks\.(\d+)\.(\w+_conv)\.conv\.(\w+)"
    act = r"activation\.snake_act\.alpha"
    unit_act = rf"res_blocks\.(\d+)\.res_blocks\.(\d+)\.(\w+_activation)\.{act}"
    e, d = r"audio_encoder\.", r"audio_decoder\."
    end = 3 * stages + 2
    rules: list[tuple[str, str | None]] = [
        (r"vector_quantizer\.fsqs\.\d+\.(?:num_levels|dim_base_index)", None),  # constants
        (r"(?!audio_encoder\.|audio_decoder\.|vector_quantizer\.).+", None),  # for training
        (rf"{e}pre_conv\.conv\.(\w+)", r"encoder.layers.0.\1"),
        (rf"{e}post_conv\.conv\.(\w+)", rf"encoder.layers.{end}.\1"),
        (rf"{d}pre_conv\.conv\.(\w+)", r"decoder.layers.0.\1"),
        (rf"{d}post_activation\.{act}", rf"decoder.layers.{end - 1}.snake.alpha"),
        (rf"{d}post_conv\.conv\.(\w+)", rf"decoder.layers.{end}.\1"),
    ]
    for stage in range(stages):
        at = 3 * stage + 1
        rules += [
            (rf"{e}res_layers\.{stage}\.{unit}", rf"encoder.layers.{at}.blocks.\1.\2.\3.\4"),
            (rf"{e}down_sample_conv_layers\.{stage}\.conv\.(\w+)", rf"encoder.layers.{at + 2}.\1"),
            (rf"{d}activations\.{stage}\.{act}", rf"decoder.layers.{at}.snake.alpha"),
            (rf"{d}up_sample_conv_layers\.{stage}\.conv\.(\w+)", rf"decoder.layers.{at + 1}.\1"),
            (rf"{d}res_layers\.{stage}\.{unit}", rf"decoder.layers.{at + 2}.blocks.\1.\2.\3.\4"),
            (rf"{d}res_layers\.{stage}\.{unit_act}", rf"decoder.layers.{at + 2}.blocks.\1.\2.\3.snake.alpha"),
        ]
    return rules


FAMILY = NanoCodec()
