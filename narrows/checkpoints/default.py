"""The shipped model that `codec encode` uses for a file if none is named."""

from pathlib import Path

from narrows.checkpoints.index import models
from narrows.media.audio.bandwidth import is_full_band
from narrows.media.table import medium_of

FULL_BAND = "audio"


def default_model(path: Path) -> str:
    """The name of the model: for audio, `audio` for several channels or content above 8 kHz, otherwise `speech`.

    A pipe, which can be read only once, is taken for speech.

    Raises:
        MediaError: if the file cannot be read.
    """
    medium = medium_of(path)
    shipped = {model.name for model in models()}
    if medium.name == "audio" and FULL_BAND in shipped and path.is_file() and is_full_band(path):
        return FULL_BAND
    return medium.default_model
