"""narrows: neural codecs and tokenizers for audio, image and video.

media ──▶ encoder ──▶ bottleneck ──▶ decoder ──▶ media
                         │  ▲
                  codes / latents            tokens for a generative model, bytes for a file

    >>> tokenizer = narrows.load("speech")
    >>> tokens = tokenizer.encode_file("examples/speech.wav")
    >>> tokenizer.decode_file(tokens, "decoded.wav")

Use a model
    load                a tokenizer by name, checkpoint folder or hub repository
    models              the models that ship with the package
    Tokenizer           what all tokenizers share; AudioTokenizer, ImageTokenizer, VideoTokenizer: those of a medium
    Tokens, Latents     what `encode` and `encode_latents` return
    Vocabulary          codes of several codebooks as ids of a language model
    tokenize            a data set to shards of tokens; see narrows.datasets for reading them
    evaluate            rate, quality and speed of models and classical codecs

Build a model
    Codec               encoder, bottleneck and decoder as one network; Encoder, Bottleneck, Decoder: their base classes
    Quantized           what a bottleneck returns
    part                registers a class of your own; spec, build: a codec as JSON and back; parts: what is registered
    save                writes a checkpoint folder

NarrowsError            base class of all errors

Packages
    narrows.media       reads and writes audio, image and video files
    narrows.codecs      encoders, bottlenecks and decoders
    narrows.tokenizers  tokenizers, ids, windows and tiles
    narrows.bitstream   the .nrw format
    narrows.datasets    data sets of tokens
    narrows.recipes     training
    narrows.evaluation  operating points, metrics, reports
"""

from typing import TYPE_CHECKING

from narrows.lazy import lazy

if TYPE_CHECKING:
    from narrows import bitstream as bitstream
    from narrows import codecs as codecs
    from narrows import datasets as datasets
    from narrows import evaluation as evaluation
    from narrows import media as media
    from narrows import parts
    from narrows import recipes as recipes
    from narrows import tokenizers as tokenizers
    from narrows.checkpoints.folder import save
    from narrows.checkpoints.index import models
    from narrows.checkpoints.load import load
    from narrows.codecs.base import Bottleneck, Decoder, Encoder, Quantized
    from narrows.codecs.codec import Codec
    from narrows.datasets.tokenize import tokenize
    from narrows.errors import NarrowsError
    from narrows.evaluation.evaluate import evaluate
    from narrows.parts import build, part, spec
    from narrows.tokenizers.audio import AudioTokenizer
    from narrows.tokenizers.ids import Vocabulary
    from narrows.tokenizers.image import ImageTokenizer
    from narrows.tokenizers.tokenizer import Tokenizer
    from narrows.tokenizers.tokens import Latents, Tokens
    from narrows.tokenizers.video import VideoTokenizer

__version__ = "0.1.0"
__all__ = [
    "AudioTokenizer",
    "Bottleneck",
    "Codec",
    "Decoder",
    "Encoder",
    "ImageTokenizer",
    "Latents",
    "NarrowsError",
    "Quantized",
    "Tokenizer",
    "Tokens",
    "VideoTokenizer",
    "Vocabulary",
    "build",
    "evaluate",
    "load",
    "models",
    "part",
    "parts",
    "save",
    "spec",
    "tokenize",
]

_MODULES = {
    "AudioTokenizer": "tokenizers.audio",
    "Bottleneck": "codecs.base",
    "Codec": "codecs.codec",
    "Decoder": "codecs.base",
    "Encoder": "codecs.base",
    "ImageTokenizer": "tokenizers.image",
    "Latents": "tokenizers.tokens",
    "NarrowsError": "errors",
    "Quantized": "codecs.base",
    "Tokenizer": "tokenizers.tokenizer",
    "Tokens": "tokenizers.tokens",
    "VideoTokenizer": "tokenizers.video",
    "Vocabulary": "tokenizers.ids",
    "build": "parts",
    "evaluate": "evaluation.evaluate",
    "load": "checkpoints.load",
    "models": "checkpoints.index",
    "part": "parts",
    "parts": None,
    "save": "checkpoints.folder",
    "spec": "parts",
    "tokenize": "datasets.tokenize",
}
_PACKAGES = ("bitstream", "codecs", "datasets", "evaluation", "media", "recipes", "tokenizers")
_EXTRAS = {"datasets": "datasets", "evaluate": "evaluate", "tokenize": "datasets"}


if not TYPE_CHECKING:  # type checkers know the names from the imports above
    __getattr__, _names = lazy(__name__, _MODULES | dict.fromkeys(_PACKAGES), _EXTRAS)


def __dir__() -> list[str]:
    """The public names and packages."""
    return [*__all__, *_PACKAGES, "__version__"]
