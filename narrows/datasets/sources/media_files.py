"""Items that are media files, with keys made from their names."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence

from narrows.datasets.base import Location, SourceItem
from narrows.media.folders import File


def keys_of(names: Sequence[str]) -> list[str]:
    """Names without suffixes; with the suffix where the name without it would be ambiguous."""
    stems = [os.path.splitext(name)[0] for name in names]
    count = Counter(stems) + Counter(set(names))
    return [stem if count[stem] == 1 else name for stem, name in zip(stems, names, strict=True)]


def media_items(files: Sequence[File], medium: str) -> Iterator[SourceItem]:
    """An item for each file."""
    for key, file in zip(keys_of([file.name for file in files]), files, strict=True):
        yield SourceItem(key, Location(file.path, size=file.size))
