"""SNAC, the multi-scale neural audio codec (github.com/hubertsiuzdak/snac; code and weights under the MIT licence).

`pytorch_model.bin` is read, and the config.json beside it. The authors' codes are a list of a tensor for each stage,
with the lowest rate first. Here all codes of a position are codebooks, ordered by stage and then by time: stage i has
n = steps / stride codebooks, which begin with number o, the sum of those of the stages before, and

    codes[:, o + j, p]  is  list[i][:, p · n + j]

At 24 kHz a position is 4 steps with 1, 2 and 4 codes; at 32 and 44.1 kHz it is 32 steps, the window of the attention,
with 4, 8, 16 and 32 codes. The end of a recording is padded to a whole position, as by the authors, and cut off again
after decoding, which they do not.

The authors' decoder draws noise, so that it never gives the same output twice. Here the noise is a function of the
codes: see narrows/codecs/layers/noise.py.
"""

from math import lcm

from torch import Tensor

from narrows.checkpoints.families.family import Family
from narrows.checkpoints.families.keys import pointwise_to_linear, renamed, with_codebook_states
from narrows.checkpoints.families.source import Source
from narrows.codecs.audio.snac import SNACDecoder, SNACEncoder
from narrows.codecs.bottlenecks.multi_rate import Strided
from narrows.codecs.bottlenecks.residual import Residual
from narrows.codecs.bottlenecks.vq import VQ
from narrows.codecs.checks import check_integer_lists, check_integers
from narrows.codecs.codec import Codec
from narrows.codecs.quantization.codebooks import DirectionCodebook
from narrows.codecs.quantization.estimators import StraightThrough
from narrows.errors import ModelError, shortened
from narrows.tokenizers.audio import AudioTokenizer

MAX_STRIDE = 1024  # steps that share a code, or that attention sees
VQ_NAME = r"quantizer\.quantizers\.(\d+)"
OURS = r"bottleneck.stages.\1.bottleneck"
RULES = [
    (rf"{VQ_NAME}\.in_proj\.(\w+)", rf"{OURS}.projection.down_map.\2"),
    (rf"{VQ_NAME}\.out_proj\.(\w+)", rf"{OURS}.projection.up_map.\2"),
    (rf"{VQ_NAME}\.codebook\.weight", rf"{OURS}.codebook.vectors"),
    (r".+\.rel_pos\.inv_freq", None),  # constants
    (r"((?:en|de)coder\..+)", r"\1"),
]


class SNAC(Family):
    """SNAC for 24, 32 and 44.1 kHz."""

    name = "snac"

    def recognises(self, source: Source) -> bool:
        """By the strides of the codebooks in the config."""
        return "vq_strides" in source.config and source.has(r"quantizer\.quantizers\.0\.in_proj\.")

    def tokenizer(self, source: Source) -> AudioTokenizer:
        """The tokenizer of a config.json."""
        for name in ("noise", "depthwise"):
            if (value := source.config.get(name, True)) is not True:
                raise ModelError(f"expected {name} to be true in the config of {source.path}, got {shortened(value)}")
        strides, rate = source.integers("vq_strides"), source.integer("sampling_rate")
        window = 0 if source.config.get("attn_window_size", 0) is None else source.integer("attn_window_size")
        check_integer_lists(1, MAX_STRIDE, vq_strides=strides)
        check_integers(0, MAX_STRIDE, attn_window_size=window)
        steps = lcm(*strides, window or 1)
        encoder = SNACEncoder(source.integer("encoder_dim"), source.integers("encoder_rates"), steps, window)
        dim, size, code_dim = encoder.dim // steps, source.integer("codebook_size"), source.integer("codebook_dim")
        stages = [
            Strided(VQ(dim, DirectionCodebook(code_dim, size), StraightThrough()), steps, stride) for stride in strides
        ]
        decoder = SNACDecoder(dim, source.integer("decoder_dim"), source.integers("decoder_rates"), steps, window)
        tokenizer = AudioTokenizer(Codec(encoder, Residual(encoder.dim, stages, dropout=0.0), decoder), rate)
        tokenizer.name = f"snac-{rate // 1000}khz"
        return tokenizer

    def weights(self, source: Source) -> dict[str, Tensor]:
        """The names of the networks are the authors'."""
        return with_codebook_states(pointwise_to_linear(renamed(source, RULES), r"\.projection\."))


FAMILY = SNAC()
