"""Oobleck, the variational autoencoder of Stable Audio (github.com/Stability-AI/stable-audio-tools, code under MIT).

Files of diffusers are read (AutoencoderOobleck, the folder `vae` of a pipeline), and those of stable-audio-tools beside
their model_config.json: an autoencoder alone, or one within a diffusion model, of which nothing else is used.

`encode_latents` gives the means. The authors' code samples: mean + (softplus(scale) + 1e-4) × noise.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from narrows.checkpoints.families.family import Family
from narrows.checkpoints.families.keys import channelwise, renamed
from narrows.checkpoints.families.source import Source
from narrows.codecs.audio.oobleck import OobleckDecoder, OobleckEncoder
from narrows.codecs.bottlenecks.split_gaussian import SplitGaussian
from narrows.codecs.codec import Codec
from narrows.errors import ModelError, shortened
from narrows.tokenizers.audio import AudioTokenizer

UNIT = {"snake1": 0, "conv1": 1, "snake2": 2, "conv2": 3}  # layers of a residual unit in diffusers
AUTHORS = r"(?:state_dict\.)?(?:pretransform\.model\.|autoencoder\.)?"  # before the names in files of the authors
SIDE = rf"{AUTHORS}(encoder|decoder)"
LAYERS = [  # of stage, unit and layer
    (rf"{SIDE}\.layers\.(\d+)\.layers\.(\d+)\.layers\.(\d+)\.(\w+)", r"\1.block.\2.block.\3.block.\4.\5"),
    (rf"{SIDE}\.layers\.(\d+)\.layers\.(\d+)\.(\w+)", r"\1.block.\2.block.\3.\4"),
    (rf"{SIDE}\.layers\.(\d+)\.(\w+)", r"\1.block.\2.\3"),
    (r"(?:state_dict\.)?(?:model|conditioner|discriminator|autoencoder_ema)\..+", None),  # beside the autoencoder
]
FIXED = {  # of the authors' networks, with what they are if the config leaves them out
    "encoder": {"use_snake": (True, False), "antialias_activation": (False, False)},
    "decoder": {
        "use_snake": (True, False),
        "antialias_activation": (False, False),
        "use_nearest_upsample": (False, False),
        "final_tanh": (False, True),
    },
}


class Oobleck(Family):
    """Oobleck for 44.1 kHz stereo."""

    name = "oobleck"

    def recognises(self, source: Source) -> bool:
        """By the class in diffusers' config, or by the names of the tensors in a file of the authors."""
        return source.config.get("_class_name") == "AutoencoderOobleck" or source.has(
            rf"{AUTHORS}encoder\.layers\.1\.layers\.0\.layers\.0\.beta"
        )

    def tokenizer(self, source: Source) -> AudioTokenizer:
        """The tokenizer of a config of diffusers, or of a model_config.json."""
        if _is_of_diffusers(source):
            strides, multiples = source.integers("downsampling_ratios"), source.integers("channel_multiples")
            channels, latents = source.integer("audio_channels"), source.integer("decoder_input_channels")
            encoder = OobleckEncoder(source.integer("encoder_hidden_size"), multiples, strides, latents, channels)
            width, rate = source.integer("decoder_channels"), source.integer("sampling_rate")
            decoder = OobleckDecoder(width, multiples[::-1], strides[::-1], latents, channels)
        else:
            of_encoder, of_decoder = _arguments(source)
            latents, rate = of_decoder.integer("latent_dim"), source.integer("sample_rate")
            if (given := of_encoder.integer("latent_dim")) != 2 * latents:
                raise ModelError(f"expected latent_dim {2 * latents} of the encoder in {source.path}, got {given}")
            encoder = OobleckEncoder(
                of_encoder.integer("channels"),
                of_encoder.integers("c_mults"),
                of_encoder.integers("strides"),
                latents,
                of_encoder.integer("in_channels"),
            )
            decoder = OobleckDecoder(
                of_decoder.integer("channels"),
                of_decoder.integers("c_mults")[::-1],
                of_decoder.integers("strides")[::-1],
                latents,
                of_decoder.integer("out_channels"),
            )
        tokenizer = AudioTokenizer(Codec(encoder, SplitGaussian(latents), decoder), rate)
        tokenizer.name = "stable-audio-vae"
        return tokenizer

    def weights(self, source: Source) -> dict[str, Tensor]:
        """All weights are those of the networks; layers of diffusers are numbered as by the authors."""
        rules = _layout(len(source.integers("downsampling_ratios"))) if _is_of_diffusers(source) else LAYERS
        return channelwise(renamed(source, rules))


def _is_of_diffusers(source: Source) -> bool:
    return "_class_name" in source.config


def _arguments(source: Source) -> tuple[Source, Source]:
    """The arguments of the authors' encoder and decoder, each as the config of a source."""
    model = _dictionary(source, source.config, "model")
    if "pretransform" in model:
        model = _dictionary(source, _dictionary(source, model, "pretransform"), "config")
    if (kind := _dictionary(source, model, "bottleneck").get("type")) != "vae":
        raise ModelError(f"expected a bottleneck of type vae in the config of {source.path}, got {shortened(kind)}")
    found = []
    for name, fixed in FIXED.items():
        network = _dictionary(source, model, name)
        if (kind := network.get("type")) != "oobleck":
            raise ModelError(f"expected the type oobleck of the {name} of {source.path}, got {shortened(kind)}")
        arguments = _dictionary(source, network, "config")
        for option, (value, default) in fixed.items():
            if (given := arguments.get(option, default)) is not value:
                raise ModelError(
                    f"expected {option} of the {name} of {source.path} to be {value}, got {shortened(given)}"
                )
        found.append(replace(source, config=arguments))
    return found[0], found[1]


def _dictionary(source: Source, values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = values.get(name)
    if not isinstance(value, Mapping):
        raise ModelError(f"expected a dictionary as {name} in the config of {source.path}, got {shortened(value)}")
    return value


def _layout(stages: int) -> list[tuple[str, str | None]]:
    """The names of diffusers' AutoencoderOobleck."""
    rules = list[tuple[str, str | None]]()
    for side, change, first in (("encoder", "conv1", 0), ("decoder", "conv_t1", 2)):
        ends = (("conv1", 0), ("snake1", stages + 1), ("conv2", stages + 2))
        rules += [(rf"{side}\.{layer}\.(\w+)", rf"{side}.block.{place}.\1") for layer, place in ends]
        for stage in range(stages):
            given, ours = rf"{side}\.block\.{stage}\.", f"{side}.block.{stage + 1}.block."
            places = (("snake1", 3), (change, 4)) if side == "encoder" else (("snake1", 0), (change, 1))
            rules += [(rf"{given}{layer}\.(\w+)", rf"{ours}{place}.\1") for layer, place in places]
            rules += [
                (rf"{given}res_unit{unit + 1}\.{layer}\.(\w+)", rf"{ours}{first + unit}.block.{place}.\1")
                for unit in range(3)
                for layer, place in UNIT.items()
            ]
    return rules


FAMILY = Oobleck()
