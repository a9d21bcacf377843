"""Finding files: in folders, by glob patterns or one by one. Everything that looks for files uses `find_files`.

Folders are searched to any depth. Symbolic links are followed, but not into a folder that contains them. Names that
begin with a dot are ignored.
"""

import glob
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from narrows.errors import InputError
from narrows.media.files import StrPath, quoted

_MAX_NAMED = 8  # suffixes in a message


@dataclass(frozen=True, slots=True)
class File:
    """A file that was found.

    Attributes:
        path: begins with the folder or pattern that was given.
        name: path below the folder, or below the fixed beginning of the pattern, with slashes; text that can be
            written as UTF-8.
        size: in bytes; None for a file that does not exist, such as the target of a broken link.
    """

    path: str
    name: str
    size: int | None


def find_files(source: StrPath, suffixes: Collection[str] | None = None) -> list[File]:
    """The files in a folder, those that match a glob pattern, or a single file; in the order of `sorted` paths.

    Args:
        source: folder, pattern (`**` stands for any number of folders) or file. A path that exists is no pattern.
        suffixes: of the files to find in a folder, in lower case and with the dot; None for all. The case of a file's
            suffix does not matter. A single file and the matches of a pattern may have any suffix.

    Returns:
        The files; none for a path that does not exist.

    Raises:
        InputError: for a folder that cannot be read.
    """
    given = os.fspath(source)
    if os.path.isdir(given):
        root, names = given, [name for name in _walk(given) if suffixes is None or suffix(name) in suffixes]
    elif os.path.exists(given):
        root, names = os.path.dirname(given), [os.path.basename(given)]
    else:
        root = os.path.dirname(re.split(r"[*?[]", given)[0])
        names = list(_matches(given, root))
    names.sort(key=lambda name: name.split(os.sep))
    paths = ((os.path.join(root, name), name) for name in names)
    return [File(path, as_text(name), size(path)) for path, name in paths]


def skipped_files(sources: Iterable[StrPath], suffixes: Collection[str], kind: str) -> str | None:
    """A line about the files in folders that `find_files` passes over for their suffixes; None if there are none.

    Args:
        sources: as `find_files` takes them; those that are no folders are ignored.
        suffixes: of the files that are found.
        kind: of the files that are found, for the line: "audio, image or video".
    """
    found = Counter(suffix(name) for source in sources if os.path.isdir(source) for name in _walk(os.fspath(source)))
    passed = [(count, ending) for ending, count in found.items() if ending not in suffixes]
    if not passed:
        return None
    total = sum(count for count, _ in passed)
    passed.sort(key=lambda pair: (-pair[0], pair[1]))
    counts = [f"{ending or 'no suffix'} {count}" for count, ending in passed]
    more = f", and {len(counts) - _MAX_NAMED} other suffixes" if len(counts) > _MAX_NAMED else ""
    files = "1 file that is" if total == 1 else f"{total} files that are"
    return f"skipped {files} no {kind}: {', '.join(counts[:_MAX_NAMED])}{more}"


def suffix(path: str) -> str:
    """The suffix of a path with its dot, in lower case."""
    return os.path.splitext(path)[1].lower()


def size(path: str) -> int | None:
    """Bytes of a file; None where it does not exist."""
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):  # ValueError: a NUL character in the path
        return None


def _walk(folder: str) -> Iterator[str]:
    """Paths of all files below a folder, relative to it, in any order."""
    waiting = [("", frozenset[tuple[int, int]]())]
    while waiting:
        name, above = waiting.pop()
        path = os.path.join(folder, name)
        try:
            status = os.stat(path or ".")
            here = (status.st_dev, status.st_ino)
            if here in above:
                continue
            with os.scandir(path or ".") as scanned:
                for entry in scanned:
                    if entry.name.startswith("."):
                        continue
                    below = os.path.join(name, entry.name)
                    if _is_folder(entry):
                        waiting.append((below, above | {here}))
                    else:
                        yield below
        except OSError as error:
            raise InputError(
                f"expected a folder that can be read, got {quoted(path)}: {error.strerror}; check its permissions"
            ) from error


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _matches(pattern: str, root: str) -> Iterator[str]:
    """Paths of the files that match a pattern, relative to `root`. `**` searches as `_walk` does."""
    if not glob.has_magic(pattern):
        return
    parts = os.path.relpath(pattern, root or ".").split(os.sep)
    if "**" not in parts:
        paths = (path for path in glob.iglob(pattern) if not os.path.isdir(path))
        yield from (os.path.relpath(path, root or ".") for path in paths)
    elif os.path.isdir(root or "."):
        yield from (name for name in _walk(root) if _fits(name.split(os.sep), parts))


def _fits(name: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether the parts of a path match those of a pattern."""
    if pattern == ["**"]:
        return True
    if not pattern or not name:
        return not pattern and not name
    if pattern[0] == "**":
        return any(_fits(name[skipped:], pattern[1:]) for skipped in range(len(name)))
    return fnmatchcase(name[0], pattern[0]) and _fits(name[1:], pattern[1:])


def as_text(name: str) -> str:
    """A name of the file system as text that can be written as UTF-8: bytes that are not UTF-8 are escaped."""
    return name if name.isascii() else os.fsencode(name).decode("utf-8", "backslashreplace")
