"""Recognises the kind of a source and lists its items."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from narrows.datasets.base import Location, SourceItem
from narrows.datasets.sources.manifests import MANIFEST_SUFFIXES, manifest_items, manifest_rows
from narrows.datasets.sources.media_files import media_items, prefixes_of
from narrows.datasets.sources.webdataset import tar_items
from narrows.errors import InputError
from narrows.extras import require_package
from narrows.media.files import quoted
from narrows.media.folders import File, find_files, suffix
from narrows.media.table import MEDIA


@dataclass(frozen=True)
class SourceKind:
    """A way to store items.

    Attributes:
        name: in messages.
        suffixes: of its files.
        items: lists the items of a medium in such files.
        in_folders: whether such files in a folder are a source; else they must be given themselves.
    """

    name: str
    suffixes: frozenset[str]
    items: Callable[[Sequence[File], str], Iterable[SourceItem]]
    in_folders: bool = True


def _columnar_items(files: Sequence[File], medium: str) -> Iterator[SourceItem]:
    """As `columnar_items`; training on media files needs no pyarrow, which its module imports."""
    require_package("pyarrow")
    from narrows.datasets.sources.columnar import columnar_items

    return columnar_items(files, medium)


_CONTAINERS = (
    SourceKind("WebDataset tars", frozenset({".tar"}), tar_items),
    SourceKind("Parquet files", frozenset({".parquet"}), _columnar_items),
    SourceKind("Arrow streams", frozenset({".arrow"}), _columnar_items),
    SourceKind("a manifest", MANIFEST_SUFFIXES, manifest_items, in_folders=False),
)
KINDS = {name: (SourceKind(medium.files, medium.suffixes, media_items), *_CONTAINERS) for name, medium in MEDIA.items()}
_COMPRESSED = frozenset({".tgz", ".tbz", ".tbz2", ".txz", ".gz", ".bz2", ".xz", ".zst", ".zip", ".7z"})


def list_items(
    sources: str | Sequence[str],
    medium: str,
    limit: int | None = None,
    notice: Callable[[str], None] = lambda _: None,
) -> list[SourceItem]:
    """The items of a data set, sorted by key. Whether they can be decoded is not checked.

    Args:
        sources: a folder (searched to any depth) or glob pattern of media files, of WebDataset tars, of Parquet files,
            or what `save_to_disk` of Hugging Face's datasets wrote; or one such file; or a manifest: JSON lines, CSV,
            TSV or Kaldi's wav.scp. Or several sources of one kind: then keys made from paths begin with the names of
            their folders, see `prefixes_of`.
        medium: "audio" or "image".
        limit: return only the first so many items by key; None for all.
        notice: called with a line where keys of a manifest are not those of paths below its folder.

    Raises:
        InputError: for a source without items, of no known kind or of several kinds, for two items with one key, and
            for a limit below 1.
    """
    if limit is not None and limit < 1:
        raise InputError(f"expected a limit of at least 1 item, got {limit}")
    sources = [sources] if isinstance(sources, str) else sources
    kind, files = _recognised(sources, medium)
    listed = manifest_items(files, medium, notice) if kind.items is manifest_items else kind.items(files, medium)
    items = [replace(item, number=number) for number, item in enumerate(listed)]
    items.sort(key=_order)
    for one, other in pairwise(items):
        if one.key == other.key and _place(one.location) == _place(other.location):
            raise InputError(
                f"expected items with different keys, got {quoted(one.key)} for two rows with "
                f"{_described(one.location)} and {_difference(one, other)}"
            )
        if one.key == other.key:
            raise InputError(
                f"expected items with different keys, got {quoted(one.key)} for {_described(one.location)} and "
                f"{_described(other.location)}; rename one, or tokenize them as two data sets"
            )
    if not items:
        raise InputError(f"expected items of {medium} in {_quoted(sources)}, got none; give another source")
    return items[:limit]


def iterate_items(source: str, medium: str) -> Iterator[SourceItem]:
    """The items of one source, in the order of its files, for uses without keys: two of them may be equal.

    Arguments and errors are those of `list_items`. It takes less time and memory.
    """
    kind, files = _recognised([source], medium)
    if kind.items is not manifest_items:
        yield from kind.items(files, medium)
        return
    for key, _, location, meta in manifest_rows(files, medium):
        yield SourceItem(location.path if key is None else key, location, meta)


def _recognised(sources: Sequence[str], medium: str) -> tuple[SourceKind, list[File]]:
    """The kind of sources, and their files."""
    if not sources:
        raise InputError("expected at least one source, got none; give a folder")
    by_kind, files = dict[SourceKind, list[File]](), list[File]()
    prefixes = prefixes_of(map(_root, sources))
    for source in sources:
        found, prefix = _files_in(source), prefixes[_root(source)]
        if prefix:
            found = [replace(file, name=prefix + file.name) for file in found]
        endings = [suffix(file.path) for file in found]
        kinds = [kind for kind in KINDS[medium] if kind.in_folders or not os.path.isdir(source)]
        for kind in kinds:
            of_kind = [file for file, ending in zip(found, endings, strict=True) if ending in kind.suffixes]
            if of_kind:
                by_kind.setdefault(kind, []).extend(of_kind)
        files += found
    if len(by_kind) == 1:
        ((kind, files),) = by_kind.items()
        twice = next((path for path, count in Counter(file.path for file in files).items() if count > 1), None)
        if twice is not None:
            raise InputError(f"expected sources without common files, got {quoted(twice)} twice; leave one out")
        return kind, files
    if by_kind:
        example = os.path.join(sources[0], "**", "*" + suffix(next(iter(by_kind.values()))[0].path))
        advice = f", for example with '{example}'" if len(sources) == 1 else ""
        raise InputError(
            f"expected one kind of source, got {' and '.join(kind.name for kind in by_kind)} in {_quoted(sources)}; "
            f"give one of them{advice}"
        )
    compressed = next((file for file in files if suffix(file.path) in _COMPRESSED), None)
    if compressed is not None:
        raise InputError(f"expected files that are not compressed, got {quoted(compressed.path)}; unpack it first")
    known = ", ".join(f"{kind.name} ({', '.join(sorted(kind.suffixes))})" for kind in KINDS[medium])
    raise InputError(f"expected a folder or glob of {known}, got none in {_quoted(sources)}")


def _files_in(source: str) -> list[File]:
    found = find_files(os.path.abspath(source)) if source else []
    if os.path.isdir(source):
        return [file for file in found if not _is_cache(file)]
    if not found:
        raise InputError(f"there is no file, folder or match of {quoted(source)}; check the path")
    return found


def _root(source: str) -> str:
    """The folder that names of files in a source are relative to."""
    path = os.path.abspath(source)
    if os.path.isdir(path):
        return path
    return os.path.dirname(path if os.path.exists(path) else re.split(r"[*?[]", path)[0])


def _quoted(sources: Sequence[str]) -> str:
    return ", ".join(map(quoted, sources[:3])) + (", …" if len(sources) > 3 else "")


def _is_cache(file: File) -> bool:
    """Whether `map` or the like of Hugging Face's datasets left the file beside the data."""
    return os.path.basename(file.path).startswith("cache-") and suffix(file.path) == ".arrow"


def _order(item: SourceItem) -> tuple[str, str, int, int]:
    location = item.location
    return item.key, location.path, location.start or 0, location.row or 0


def _place(location: Location) -> tuple[object, ...]:
    return os.path.normpath(location.path), location.start, location.row


def _difference(one: SourceItem, other: SourceItem) -> str:
    """How two rows with one file differ, and what to do."""
    names = sorted(name for name in {*one.meta, *other.meta} if one.meta.get(name) != other.meta.get(name))
    if not names:
        return "equal columns: the row is repeated; remove one"
    return f"different {', '.join(map(repr, names[:3]))}; give the rows different keys in a column key, or remove one"


def _described(location: Location) -> str:
    if location.row is not None:
        return f"row {location.row} of {quoted(location.path)}"
    return quoted(location.path) + ("" if location.start is None else f" at byte {location.start}")
