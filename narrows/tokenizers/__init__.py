"""Tokenizers: media in, Tokens out, and back. `narrows.load` gives one.

    AudioTokenizer    recordings of any rate, length and channels
    ImageTokenizer    images of any size, grey or RGB
    VideoTokenizer    clips of any size, length and rate, grey or RGB
    Tokenizer         what all share
    ImageClassifier   images to streams, and streams to classes; `narrows.checkpoints.read_classifier` gives one
    Tokens, Latents   what encoding returns: codes or continuous latents, with all that decoding needs but the model
    Vocabulary        ids of codes, for a language model
    plots             Tokens and recordings as figures
    RateSetting       the setting that trades rate for quality
    DecodeOptions     options of decode_file and decode_bytes

    from                                  to Tokens               to an .nrw stream
    arrays, tensors, images of Pillow     encode, encode_batch    compress(tokens)
    a media file: path, bytes, file       encode_file             encode_bytes
    an Audio, Image or Video              encode_signal           compress(tokens)
    many files                            batch_encoder           compress(tokens)

    to                                    from Tokens             from an .nrw stream
    a tensor                              decode, decode_batch    decompress(data), then decode
    a media file                          decode_file             decode_file, decode_bytes
    an Audio, Image or Video              decode_signal           decode_signal
    an image of Pillow                    decode_image            decode_image

The modules:

    tokenizer.py     what all tokenizers share          tokens.py       Tokens and Latents
    model.py         ... with classifiers               classifier.py   classes of images
    audio.py         audio, with audio_*.py             ids.py          codes as ids of a language model
    image.py         images, with image_*.py            search.py       better codes of an image
    video.py         video, with video_*.py             windows.py      windows and tiles
    settings.py      settings and options               resampling.py   other sample rates
    batches.py       batches of equal shape             plots.py        figures
    channels.py      channel groups                     fingerprint.py  the hash of a model
    devices.py       where a codec runs

Shapes: S channel groups, K codebooks, F frames, H W positions of an image, D channels of latents.
"""

from typing import TYPE_CHECKING

from narrows.lazy import lazy

if TYPE_CHECKING:
    from narrows.tokenizers import plots
    from narrows.tokenizers.audio import AudioTokenizer
    from narrows.tokenizers.classifier import ImageClassifier
    from narrows.tokenizers.ids import Vocabulary
    from narrows.tokenizers.image import ImageTokenizer
    from narrows.tokenizers.settings import DecodeOptions, RateSetting
    from narrows.tokenizers.tokenizer import Tokenizer
    from narrows.tokenizers.tokens import Latents, Tokens
    from narrows.tokenizers.video import VideoTokenizer

__all__ = [
    "AudioTokenizer",
    "DecodeOptions",
    "ImageClassifier",
    "ImageTokenizer",
    "Latents",
    "RateSetting",
    "Tokenizer",
    "Tokens",
    "VideoTokenizer",
    "Vocabulary",
    "plots",
]

_MODULES = {
    "AudioTokenizer": "audio",
    "DecodeOptions": "settings",
    "ImageClassifier": "classifier",
    "ImageTokenizer": "image",
    "Latents": "tokens",
    "RateSetting": "settings",
    "Tokenizer": "tokenizer",
    "Tokens": "tokens",
    "VideoTokenizer": "video",
    "Vocabulary": "ids",
    "plots": None,
}

if not TYPE_CHECKING:  # type checkers know the names from the imports above
    __getattr__, __dir__ = lazy(__name__, _MODULES)
