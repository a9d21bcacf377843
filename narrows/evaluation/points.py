"""Operating points by name.

speech         a model that ships with the package, a folder or a hub repository, at its default setting
speech@4,7     the model at two settings: numbers of codebooks
image@all      a model at all its settings: here the qualities 1 to 8
opus@6,8,12    a baseline codec: nominal kbit/s, or its own quality scale
flac           a codec without settings
"""

import difflib
import os
from collections.abc import Callable, Sequence
from typing import Literal

from narrows.checkpoints.index import models
from narrows.errors import InputError
from narrows.evaluation.base import OperatingPoint
from narrows.evaluation.baselines.audio import AUDIO_ENCODERS, AudioBaseline
from narrows.evaluation.baselines.image import IMAGE_FORMATS, ImageBaseline
from narrows.evaluation.baselines.intra import INTRA_ENCODERS, IntraBaseline
from narrows.evaluation.baselines.lyra import LyraBaseline
from narrows.evaluation.baselines.video import VIDEO_ENCODERS, VideoBaseline
from narrows.evaluation.models import model_points

BASELINES: dict[str, Callable[..., OperatingPoint]] = {
    **dict.fromkeys(AUDIO_ENCODERS, AudioBaseline),
    "lyra": LyraBaseline,
    **dict.fromkeys(IMAGE_FORMATS, ImageBaseline),
    **dict.fromkeys(INTRA_ENCODERS, IntraBaseline),
    **dict.fromkeys(VIDEO_ENCODERS, VideoBaseline),
}


def operating_points(names: Sequence[str]) -> list[OperatingPoint]:
    """The operating points with these names, in order, without duplicates. Models are loaded.

    Args:
        names: Names as NAME or NAME@SETTINGS, see the module docstring.

    Raises:
        InputError: A name is unknown (the message suggests the nearest known name), a codec does not offer a setting,
            or the points are of several media.
        ModelError: A model cannot be loaded.
    """
    found = {point.name: point for name in names for point in _parse(name)}
    if not found:
        raise InputError("expected at least one operating point, got none; give for example speech@all opus@6,8,12")
    media = {point.medium: point.name for point in found.values()}
    if len(media) > 1:
        got = " and ".join(f"{name} ({medium})" for medium, name in media.items())
        raise InputError(f"expected operating points of one medium, got {got}; evaluate each medium separately")
    return list(found.values())


def _parse(text: str) -> list[OperatingPoint]:
    name, at, setting_text = text.rpartition("@")
    settings: tuple[float, ...] | Literal["all"] = ()
    if not at or os.path.isdir(text):  # a folder may have an @ in its name
        name = text
    else:
        settings = _parse_settings(text, setting_text)
    if name in BASELINES:
        if settings == "all":
            raise InputError(f"expected settings of {name}, got {text!r}; list them, such as {name}@VALUE,VALUE")
        return [BASELINES[name](name, setting) for setting in settings or (None,)]
    known = [*BASELINES, *(entry.name for entry in models())]
    if name in known or os.path.isdir(name) or "/" in name:
        return model_points(name, settings)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise InputError(f"no codec, model or folder {name!r}; {hint}known are {', '.join(known)}")


def _parse_settings(text: str, setting_text: str) -> tuple[float, ...] | Literal["all"]:
    """The part after the @."""
    if setting_text == "all":
        return "all"
    try:
        return tuple(float(part) for part in setting_text.split(","))
    except ValueError:
        raise InputError(f"expected numbers such as 4 or 4,7, or the word all, after the @, got {text!r}") from None
