"""A folder of files as entries."""

from pathlib import Path

from narrows.errors import InputError
from narrows.media import audio, image
from narrows.tokenizers.datasets.base import Entry, Place


def entries(source: str, medium: str) -> list[Entry]:
    root, suffixes = Path(source), {"audio": audio.SUFFIXES, "image": image.SUFFIXES}[medium]
    if not root.is_dir():
        raise InputError(f"there is no folder {source!r}; check the path")
    files = sorted(path for path in root.rglob("*") if path.suffix.lower() in suffixes)
    return [Entry(path.relative_to(root).with_suffix("").as_posix(), Place(str(path))) for path in files]


def opened(entry: Entry) -> str:
    return entry.place.path
