"""Operating points by name.

speech         a model that ships with the package, a folder, or a hub repository, at its usual setting
speech@4,7     at two settings: numbers of codebooks
image@all      at all of them: here the qualities 1 to 8
opus@6,8,12    a classical codec: nominal kbit/s, or its own quality
flac           one without settings
"""

import difflib
import os
from collections.abc import Callable, Sequence
from typing import Literal

from narrows.checkpoints.index import entries
from narrows.errors import InputError
from narrows.evaluation.base import OperatingPoint
from narrows.evaluation.baselines.audio import CODERS, AudioPeer
from narrows.evaluation.baselines.image import FORMATS, ImagePeer
from narrows.evaluation.baselines.intra import ENCODERS, IntraPeer
from narrows.evaluation.ours import model_points

PEERS: dict[str, Callable[..., OperatingPoint]] = {
    **dict.fromkeys(CODERS, AudioPeer),
    **dict.fromkeys(FORMATS, ImagePeer),
    **dict.fromkeys(ENCODERS, IntraPeer),
}


def points(texts: Sequence[str]) -> list[OperatingPoint]:
    """The operating points that are asked for, in order, each once. Models among them are loaded.

    Raises InputError for an unknown name (with the nearest), a setting that a codec has not, and points of several
    media; ModelError for a model that cannot be loaded.
    """
    found = {point.name: point for text in texts for point in _points(text)}
    if not found:
        raise InputError("no operating point given; give one or more, such as speech@all opus@6,8,12")
    media = {point.medium: point.name for point in found.values()}
    if len(media) > 1:
        given = " and ".join(f"{name} of {medium}" for medium, name in media.items())
        raise InputError(f"{given} given; one medium wanted, measure them apart")
    return list(found.values())


def _points(text: str) -> list[OperatingPoint]:
    name, at, behind = text.rpartition("@")
    settings: tuple[float, ...] | Literal["all"] = ()
    if not at or os.path.isdir(text):  # a folder may have an @ in its name
        name = text
    else:
        settings = _settings(text, behind)
    if name in PEERS:
        if settings == "all":
            raise InputError(f"{text} given; name the settings of {name}, since it has too many for all")
        return [PEERS[name](name, setting) for setting in settings or (None,)]
    known = [*PEERS, *(entry.name for entry in entries())]
    if name in known or os.path.isdir(name) or "/" in name:
        return model_points(name, settings)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise InputError(f"no codec, model or folder {name!r}; {hint}there are {', '.join(known)}")


def _settings(text: str, behind: str) -> tuple[float, ...] | Literal["all"]:
    """What stands behind the @."""
    if behind == "all":
        return "all"
    try:
        return tuple(float(part) for part in behind.split(","))
    except ValueError:
        raise InputError(f"{text} given; behind the @ numbers are wanted, such as 4 or 4,7, or the word all") from None
