"""Items that are media files, with keys made from their names, and the names of their folders as labels."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from narrows.datasets.base import Json, Location, SourceItem
from narrows.media.folders import File, as_text


def keys_of(names: Sequence[str]) -> list[str]:
    """Names without suffixes; with the suffix where the name without it would be ambiguous."""
    stems = [os.path.splitext(name)[0] for name in names]
    count = Counter(stems) + Counter(set(names))
    return [stem if count[stem] == 1 else name for stem, name in zip(stems, names, strict=True)]


def prefixes_of(folders: Iterable[str]) -> dict[str, str]:
    """What keys of files in each folder begin with: its last name, or as many as tell all apart; nothing for one."""
    names = {folder: folder.split(os.sep) for folder in folders}
    if len(names) == 1:
        return dict.fromkeys(names, "")
    count = 1
    while len({tuple(parts[-count:]) for parts in names.values()}) < len(names):
        count += 1
    return {folder: as_text("/".join(parts[-count:])) + "/" for folder, parts in names.items()}


def media_items(files: Sequence[File], medium: str) -> Iterator[SourceItem]:
    """An item for each file. For a file in a subfolder `meta` has the path of the subfolder as its label."""
    labels: dict[str, Mapping[str, Json]] = {"": {}}  # shared by the items of a folder
    for key, file in zip(keys_of([file.name for file in files]), files, strict=True):
        folder = os.path.dirname(file.name)
        meta = labels.setdefault(folder, {"label": folder})
        yield SourceItem(key, Location(file.path, size=file.size), meta)
