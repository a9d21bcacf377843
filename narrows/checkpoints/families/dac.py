"""DAC, the Descript Audio Codec (github.com/descriptinc/descript-audio-codec; weights under the MIT licence).

Files of the authors are read (`weights.pth`, with its arguments in `metadata.kwargs`), and of transformers' DacModel.
The command of the authors brings recordings to -16 LUFS before it encodes them; here they are coded as they are.
"""

from torch import Tensor

from narrows.checkpoints.families.family import Family
from narrows.checkpoints.families.keys import channelwise, pointwise_to_linear, renamed, with_codebook_states
from narrows.checkpoints.families.source import Source
from narrows.codecs.audio.dac import DACDecoder, DACEncoder
from narrows.codecs.bottlenecks.residual import Residual
from narrows.codecs.bottlenecks.vq import VQ
from narrows.codecs.checks import MAX_SIZE, check_integers
from narrows.codecs.codec import Codec
from narrows.codecs.quantization.codebooks import DirectionCodebook
from narrows.codecs.quantization.estimators import StraightThrough
from narrows.tokenizers.audio import AudioTokenizer

UNIT = {"snake1": 0, "conv1": 1, "snake2": 2, "conv2": 3}  # layers of a residual unit in transformers
AUTHORS = r"(?:state_dict\.)?"  # before the names in files of the authors
QUANTIZER = [
    (rf"{AUTHORS}quantizer\.quantizers\.(\d+)\.in_proj\.(\w+)", r"bottleneck.stages.\1.projection.down_map.\2"),
    (rf"{AUTHORS}quantizer\.quantizers\.(\d+)\.out_proj\.(\w+)", r"bottleneck.stages.\1.projection.up_map.\2"),
    (rf"{AUTHORS}quantizer\.quantizers\.(\d+)\.codebook\.weight", r"bottleneck.stages.\1.codebook.vectors"),
]


class DAC(Family):
    """DAC for 16, 24 and 44.1 kHz."""

    name = "dac"

    def recognises(self, source: Source) -> bool:
        """By the type in transformers' config, or by the names of the tensors in a file of the authors."""
        return source.config.get("model_type") == "dac" or source.has(
            r"state_dict\.encoder\.block\.1\.block\.0\.block\.0\.alpha"
        )

    def tokenizer(self, source: Source) -> AudioTokenizer:
        """The tokenizer of a config of transformers, or of the arguments in a file of the authors."""
        width, strides = _integer(source, "encoder_hidden_size", "encoder_dim"), _strides(source)
        ups = source.integers("upsampling_ratios", "metadata.kwargs.decoder_rates")
        codebooks, size = _integer(source, "n_codebooks"), _integer(source, "codebook_size")
        code_dim, rate = _integer(source, "codebook_dim"), _integer(source, "sampling_rate", "sample_rate")
        check_integers(1, MAX_SIZE, codebooks=codebooks)
        given = source.values.get("metadata.kwargs.latent_dim", 0) is not None
        dim = _integer(source, "hidden_size", "latent_dim") if given else width << len(strides)
        codec = Codec(
            DACEncoder(width, strides, dim),
            Residual(dim, [VQ(dim, DirectionCodebook(code_dim, size), StraightThrough()) for _ in range(codebooks)]),
            DACDecoder(_integer(source, "decoder_hidden_size", "decoder_dim"), ups, dim),
        )
        tokenizer = AudioTokenizer(codec, rate)
        tokenizer.name = f"dac-{rate // 1000}khz" + ("-16kbps" if codebooks == 18 else "")
        return tokenizer

    def weights(self, source: Source) -> dict[str, Tensor]:
        """The authors' names are those of the networks here; those of transformers are numbered alike."""
        tensors = renamed(
            source, [*QUANTIZER, (r"state_dict\.((?:en|de)coder\..+)", r"\1"), *layout(len(_strides(source)))]
        )
        return with_codebook_states(pointwise_to_linear(channelwise(tensors), r"\.projection\."))


def _integer(source: Source, name: str, of_authors: str | None = None) -> int:
    return source.integer(name, f"metadata.kwargs.{of_authors or name}")


def _strides(source: Source) -> tuple[int, ...]:
    return source.integers("downsampling_ratios", "metadata.kwargs.encoder_rates")


def layout(stages: int) -> list[tuple[str, str]]:
    """The names of transformers' DacModel as those of the authors."""
    rules = [
        (r"encoder\.conv1\.(\w+)", r"encoder.block.0.\1"),
        (r"encoder\.snake1\.(\w+)", rf"encoder.block.{stages + 1}.\1"),
        (r"encoder\.conv2\.(\w+)", rf"encoder.block.{stages + 2}.\1"),
        (r"decoder\.conv1\.(\w+)", r"decoder.model.0.\1"),
        (r"decoder\.snake1\.(\w+)", rf"decoder.model.{stages + 1}.\1"),
        (r"decoder\.conv2\.(\w+)", rf"decoder.model.{stages + 2}.\1"),
    ]
    for stage in range(stages):
        e, d = rf"encoder\.block\.{stage}\.", rf"decoder\.block\.{stage}\."
        to_e, to_d = f"encoder.block.{stage + 1}.block.", f"decoder.model.{stage + 1}.block."
        rules += [(rf"{e}{layer}\.(\w+)", rf"{to_e}{place}.\1") for layer, place in (("snake1", 3), ("conv1", 4))]
        rules += [(rf"{d}{layer}\.(\w+)", rf"{to_d}{place}.\1") for layer, place in (("snake1", 0), ("conv_t1", 1))]
        for number in range(3):
            for layer, place in UNIT.items():
                rules += [
                    (rf"{e}res_unit{number + 1}\.{layer}\.(\w+)", rf"{to_e}{number}.block.{place}.\1"),
                    (rf"{d}res_unit{number + 1}\.{layer}\.(\w+)", rf"{to_d}{number + 2}.block.{place}.\1"),
                ]
    return rules


FAMILY = DAC()
