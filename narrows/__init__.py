"""narrows: neural codecs and tokenizers for audio, image and video.

media ──▶ encoder ──▶ bottleneck ──▶ decoder ──▶ media
                         │  ▲
                  codes / latents            tokens for a generative model, bytes for a file
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from narrows.checkpoints.index import models
    from narrows.checkpoints.load import load
    from narrows.tokenizers.audio import AudioTokenizer
    from narrows.tokenizers.image import ImageTokenizer
    from narrows.tokenizers.tokens import Tokens

__version__ = "0.1.0"
__all__ = ["AudioTokenizer", "ImageTokenizer", "Tokens", "load", "models"]

_HOMES = {
    "AudioTokenizer": ("narrows.tokenizers.audio", "AudioTokenizer"),
    "ImageTokenizer": ("narrows.tokenizers.image", "ImageTokenizer"),
    "Tokens": ("narrows.tokenizers.tokens", "Tokens"),
    "load": ("narrows.checkpoints.load", "load"),
    "models": ("narrows.checkpoints.index", "models"),
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that `import narrows` and `codec --help` need no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'narrows' has no attribute {name!r}; it has {', '.join(__all__)}")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)
