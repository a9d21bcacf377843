"""Items that are files: the keys that their names give."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence

from narrows.datasets.base import Entry, Place
from narrows.media.folders import File


def keys(names: Sequence[str]) -> list[str]:
    """Names without their suffixes, but with them where the name alone would mean another one too."""
    bare = [os.path.splitext(name)[0] for name in names]
    count = Counter(bare) + Counter(set(names))
    return [short if count[short] == 1 else name for short, name in zip(bare, names, strict=True)]


def media_entries(files: Sequence[File], medium: str) -> Iterator[Entry]:
    """One of each file."""
    for key, file in zip(keys([file.name for file in files]), files, strict=True):
        yield Entry(key, Place(file.path, size=file.size))
