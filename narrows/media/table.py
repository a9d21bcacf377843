"""The media by name. Everything that depends on the medium is looked up here."""

from narrows.errors import InputError, shortened
from narrows.media import audio, image, video
from narrows.media.files import StrPath
from narrows.media.medium import Medium

MEDIA: dict[str, Medium] = {medium.name: medium for medium in (audio.MEDIUM, image.MEDIUM, video.MEDIUM)}
SUFFIXES = frozenset(suffix for medium in MEDIA.values() for suffix in medium.suffixes)


def medium_of(path: StrPath) -> Medium:
    """The medium of a file, by its suffix. Audio for an unknown suffix, since FFmpeg reads many formats.

    Audio and video share some suffixes, such as .mp4: a file with one is video if it has a video track that is not the
    picture of a cover. Otherwise it is audio, also where it cannot be opened, such as a pipe.
    """
    found = [medium for medium in MEDIA.values() if medium.has_suffix(path)] or [audio.MEDIUM]
    if len(found) > 1:
        return video.MEDIUM if video.has_frames(path) else audio.MEDIUM
    return found[0]


def medium_named(name: str) -> Medium:
    """The medium with a name. Raises InputError for an unknown name."""
    if name not in tuple(MEDIA):
        raise InputError(f"expected one of the media {', '.join(MEDIA)}, got {shortened(name)}")
    return MEDIA[name]
