"""Which kind of source a path is, and what it holds."""

import glob
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise

from narrows.datasets.base import Entry, Place
from narrows.datasets.sources.folders import media_entries
from narrows.datasets.sources.manifests import MANIFESTS, manifest_entries
from narrows.datasets.sources.tables import table_entries
from narrows.datasets.sources.tars import tar_entries
from narrows.errors import InputError
from narrows.media.files import quoted
from narrows.media.folders import File, size, suffix, text, walk
from narrows.media.table import MEDIA


@dataclass(frozen=True)
class Kind:
    """Files of these suffixes hold items in this way. listed: they are looked for in folders."""

    name: str
    suffixes: frozenset[str]
    entries: Callable[[Sequence[File], str], Iterable[Entry]]
    listed: bool = True


_HELD = (
    Kind("WebDataset tars", frozenset({".tar"}), tar_entries),
    Kind("Parquet files", frozenset({".parquet"}), table_entries),
    Kind("Arrow streams", frozenset({".arrow"}), table_entries),
    Kind("a manifest", MANIFESTS, manifest_entries, listed=False),
)
KINDS = {name: (Kind(medium.files, medium.suffixes, media_entries), *_HELD) for name, medium in MEDIA.items()}
_PACKED = frozenset({".tgz", ".tbz", ".tbz2", ".txz", ".gz", ".bz2", ".xz", ".zst", ".zip", ".7z"})


def entries(source: str, medium: str, limit: int | None = None) -> list[Entry]:
    """The items of a data set, sorted by key.

    source: a folder, searched to its depth, or a glob, with files of the medium, or WebDataset tars, or Parquet files,
    or what `save_to_disk` of Hugging Face's datasets left; or one such file, or a manifest: JSON lines, CSV, TSV, or
    Kaldi's wav.scp. medium: "audio" or "image". limit: only so many, the first by key.

    Whether an item can be decoded is not looked at. Raises InputError where there is none, for a source that is nothing
    of the above or several of it, for two items of one key and a limit below 1.
    """
    if limit is not None and limit < 1:
        raise InputError(f"a limit of {limit} items given, at least 1 wanted")
    kind, files = _chosen(source, medium)
    found = sorted(kind.entries(files, medium), key=_order)
    for one, other in pairwise(found):
        if one.key == other.key:
            raise InputError(
                f"{_told(one.place)} and {_told(other.place)} are both called {quoted(one.key)}; "
                "rename one, give them ids of their own, or tokenize them as two data sets"
            )
    if not found:
        raise InputError(f"{quoted(source)} holds no item of {medium}; give another source")
    return found[:limit]


def _chosen(source: str, medium: str) -> tuple[Kind, list[File]]:
    """The kind of a source and its files, sorted by name."""
    files = sorted(_files(source), key=lambda file: file.name)
    kinds = [kind for kind in KINDS[medium] if kind.listed or not os.path.isdir(source)]
    held = {kind: [file for file in files if suffix(file.path) in kind.suffixes] for kind in kinds}
    held = {kind: of_kind for kind, of_kind in held.items() if of_kind}
    if len(held) == 1:
        return held.popitem()
    if held:
        raise InputError(
            f"{quoted(source)} holds {' and '.join(kind.name for kind in held)}; "
            f"give one of them, for example with '{os.path.join(source, '**', '*' + suffix(files[0].path))}'"
        )
    packed = next((file for file in files if suffix(file.path) in _PACKED), None)
    if packed is not None:
        raise InputError(f"{quoted(packed.path)} is compressed, and such are not read; unpack it first")
    known = ", ".join(f"{kind.name} ({', '.join(sorted(kind.suffixes))})" for kind in KINDS[medium])
    raise InputError(f"{quoted(source)} holds nothing to tokenize; wanted is a folder or a glob of {known}")


def _files(source: str) -> Iterable[File]:
    if os.path.isdir(source):
        return (file for file in walk(source) if not _is_cache(file))
    if os.path.exists(source):
        return [_file(source, os.path.dirname(source))]
    root = os.path.dirname(re.split(r"[*?[]", source)[0])
    found = [_file(path, root) for path in _globbed(source, root) if not os.path.isdir(path)]
    if not found:
        raise InputError(f"there is no file or folder {quoted(source)}; check the path")
    return found


def _globbed(source: str, root: str) -> Iterable[str]:
    """Paths that a glob means; `**` as `walk` goes, since glob follows links in circles."""
    pattern = os.path.relpath(source, root or ".").split(os.sep)
    if "**" not in pattern:
        return glob.iglob(source)
    top = os.path.abspath(root or ".")
    paths = (file.path for file in walk(top)) if os.path.isdir(top) else ()
    return (path for path in paths if _fits(os.path.relpath(path, top).split(os.sep), pattern))


def _fits(name: Sequence[str], pattern: Sequence[str]) -> bool:
    if pattern == ["**"]:
        return True
    if not pattern or not name:
        return not pattern and not name
    if pattern[0] == "**":
        return any(_fits(name[passed:], pattern[1:]) for passed in range(len(name)))
    return fnmatchcase(name[0], pattern[0]) and _fits(name[1:], pattern[1:])


def _file(path: str, root: str) -> File:
    return File(os.path.abspath(path), text(os.path.relpath(path, root or ".")), size(path))


def _is_cache(file: File) -> bool:
    """What `map` and the like of Hugging Face's datasets leave beside the data."""
    return os.path.basename(file.path).startswith("cache-") and suffix(file.path) == ".arrow"


def _order(entry: Entry) -> tuple[str, str, int, int]:
    place = entry.place
    return entry.key, place.path, place.start or 0, place.row or 0


def _told(place: Place) -> str:
    """In words, for messages."""
    if place.row is not None:
        return f"row {place.row} of {quoted(place.path)}"
    return quoted(place.path) + ("" if place.start is None else f" at byte {place.start}")
