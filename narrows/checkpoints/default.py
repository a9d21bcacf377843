"""The shipped models that are used for a file if none is named."""

from pathlib import Path

from narrows.media.audio.bandwidth import is_full_band
from narrows.media.files import Source
from narrows.media.table import medium_of

FULL_BAND, SPEECH = "audio", "speech"


def default_model(path: Path) -> str:
    """The name of the model: for video and images that of the medium; for audio see `default_audio_model`.

    A pipe, which can be read only once, is taken for speech.

    Raises:
        MediaError: if a recording cannot be read.
    """
    medium = medium_of(path)
    if medium.name != "audio":
        return medium.default_model
    return default_audio_model(path) if path.is_file() else SPEECH


def default_audio_model(source: Source) -> str:
    """`audio` for several channels or content above 8 kHz, otherwise `speech`.

    Raises:
        MediaError: if the recording cannot be read.
    """
    return FULL_BAND if is_full_band(source) else SPEECH
