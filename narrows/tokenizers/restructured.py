"""A tokenizer with a Re-Bottleneck around the codec of another one."""

from typing import Any, TypeVar

from narrows.codecs.bottlenecks.entropy.base import EntropyModel
from narrows.codecs.bottlenecks.nested import Nested
from narrows.codecs.bottlenecks.rebottleneck import ReBottleneck
from narrows.codecs.codec import Codec
from narrows.codecs.stacked import base_digest, base_tensors
from narrows.errors import InputError
from narrows.tokenizers.model import Base
from narrows.tokenizers.tokenizer import Tokenizer
from narrows.tokenizers.video import VideoTokenizer

T = TypeVar("T", bound=Tokenizer)


def restructured(base: T, rebottleneck: ReBottleneck) -> T:
    """A tokenizer of the inner latents of a ReBottleneck, around the encoder and decoder of a finished one.

    The networks are shared with `base`, not copied. If `base` came from `narrows.load`, a checkpoint of the result
    holds the weights of the ReBottleneck alone, and names `base` and its fingerprint.

    Args:
        base: the finished tokenizer.
        rebottleneck: of the latents of its codec: those that its bottleneck returns, or for an entropy model, whose
            latents are those of the encoder but for rounding, those that the encoder returns.

    Raises:
        InputError: for a ReBottleneck that does not fit the codec, see `Codec`.
    """
    arguments: dict[str, Any] = base._arguments | {"codec": codec_around(base.codec, rebottleneck)}  # type: ignore[attr-defined]
    made = type(base)(**arguments)
    given = base.codec.state_dict()
    if base.origin is not None and all(name in given for _, name in base_tensors(made.codec)):
        made.base = Base(base.origin, base.fingerprint, base_digest(made.codec))
    if isinstance(made, VideoTokenizer) and isinstance(base, VideoTokenizer):
        made.audio, made.audio_models = base.audio, base.audio_models
    return made


def codec_around(codec: Codec, rebottleneck: ReBottleneck) -> Codec:
    """A codec of the inner latents of a ReBottleneck around the networks of another codec, which it shares.

    Raises InputError as `restructured` does.
    """
    outer = codec.bottleneck
    if isinstance(outer, EntropyModel):
        index = rebottleneck.quality_index
        if codec.decoder.conditioned != (index is not None) or (index or 0) >= outer.qualities:
            raise InputError(
                f"expected a quality_index up to {outer.qualities - 1} for a codec with several qualities, and none "
                f"for others, got {index}"
            )
        return Codec(codec.encoder, rebottleneck, codec.decoder)
    return Codec(codec.encoder, Nested(outer, rebottleneck, frozen=True), codec.decoder)
