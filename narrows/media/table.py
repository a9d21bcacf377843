"""The media that this library knows, by name. What depends on the medium is asked here and nowhere else."""

from narrows.errors import InputError
from narrows.media import audio, image
from narrows.media.files import StrPath, shown
from narrows.media.medium import Medium

MEDIA: dict[str, Medium] = {medium.name: medium for medium in (audio.MEDIUM, image.MEDIUM)}
SUFFIXES = frozenset(suffix for medium in MEDIA.values() for suffix in medium.suffixes)


def medium_of(path: StrPath) -> Medium:
    """The medium that the suffix of a path stands for; audio for an unknown one, whose reader says what it takes."""
    return next((medium for medium in MEDIA.values() if medium.has_suffix(path)), audio.MEDIUM)


def medium_named(name: str) -> Medium:
    """The medium of a name. Raises InputError for an unknown one."""
    if name not in MEDIA:
        raise InputError(f"expected one of the media {', '.join(MEDIA)}, got {shown(name)}")
    return MEDIA[name]
