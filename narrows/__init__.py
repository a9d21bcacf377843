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
    Tokenizer           what all tokenizers share; AudioTokenizer, ImageTokenizer: those of a medium
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
    narrows.media       reads and writes audio and image files
    narrows.codecs      encoders, bottlenecks and decoders
    narrows.tokenizers  tokenizers, ids, windows and tiles
    narrows.bitstream   the .nrw format
    narrows.datasets    data sets of tokens
    narrows.recipes     training
    narrows.evaluation  operating points, metrics, reports
"""

from contextlib import nullcontext
from importlib import import_module
from typing import TYPE_CHECKING, Any

from narrows.extras import needs_extra

if TYPE_CHECKING:
    from narrows import parts
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
    "AudioTokenizer": "narrows.tokenizers.audio",
    "Bottleneck": "narrows.codecs.base",
    "Codec": "narrows.codecs.codec",
    "Decoder": "narrows.codecs.base",
    "Encoder": "narrows.codecs.base",
    "ImageTokenizer": "narrows.tokenizers.image",
    "Latents": "narrows.tokenizers.tokens",
    "NarrowsError": "narrows.errors",
    "Quantized": "narrows.codecs.base",
    "Tokenizer": "narrows.tokenizers.tokenizer",
    "Tokens": "narrows.tokenizers.tokens",
    "Vocabulary": "narrows.tokenizers.ids",
    "build": "narrows.parts",
    "evaluate": "narrows.evaluation.evaluate",
    "load": "narrows.checkpoints.load",
    "models": "narrows.checkpoints.index",
    "part": "narrows.parts",
    "save": "narrows.checkpoints.folder",
    "spec": "narrows.parts",
    "tokenize": "narrows.datasets.tokenize",
}
_EXTRAS = {"evaluate": "evaluate", "tokenize": "datasets"}


if not TYPE_CHECKING:  # type checkers know the names from the imports above

    def __getattr__(name: str) -> Any:
        """Import on first use, so that `import narrows` and `codec --help` need no torch."""
        if name == "parts":
            return import_module("narrows.parts")
        if name not in _MODULES:
            raise AttributeError(f"module 'narrows' has no attribute {name!r}; it has {', '.join(__all__)}")
        with needs_extra(_EXTRAS[name]) if name in _EXTRAS else nullcontext():
            return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    """The public names."""
    return [*__all__, "__version__"]
