"""The items of an evaluation: files of one medium."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from narrows.errors import InputError, MediaError
from narrows.media.files import StrPath, quoted
from narrows.media.folders import File, find_files
from narrows.media.medium import Medium


@dataclass(frozen=True)
class EvaluationItem:
    """A file to evaluate on.

    Args:
        name: Path below the folder that was given.
        path: Path of the file.
        digest: SHA-256 of its bytes.
        seconds: Length of its beginning that is evaluated; None for the whole.
    """

    name: str
    path: Path
    digest: str
    seconds: float | None = None


def find_items(
    paths: Sequence[StrPath],
    medium: Medium,
    limit: int | None = None,
    exclude: StrPath | None = None,
    seconds: float | None = None,
) -> list[EvaluationItem]:
    """Finds the files of a medium in folders and among single files, sorted by name. Files are not decoded.

    Args:
        paths: Folders, files and glob patterns, as `find_files` takes them.
        medium: The medium.
        limit: Number of items to return, the first by name; None for all.
        exclude: Folder whose files are ignored, such as the output folder.
        seconds: Length of the beginning of each item that is evaluated; None for the whole.

    Returns:
        The items.

    Raises:
        InputError: There is no file, a path does not exist, two items have the same name, or the limit is below 1.
        MediaError: A file cannot be read.
    """
    if limit is not None and limit < 1:
        raise InputError(f"expected a limit of at least 1 item, got {limit}")
    found: dict[str, Path] = {}
    for file in (file for path in paths for file in _files(path, medium.suffixes)):
        path = Path(file.path)
        if exclude is not None and Path(os.path.realpath(path)).is_relative_to(os.path.realpath(exclude)):
            continue
        if found.setdefault(file.name, path) != path:
            raise InputError(
                f"{quoted(found[file.name])} and {quoted(path)} both have the name {file.name}; give a parent folder"
            )
    if not found:
        places, kinds = ", ".join(map(quoted, paths)) or "nothing", ", ".join(sorted(medium.suffixes))
        raise InputError(f"no {medium.name} file in {places}; give folders or files with {kinds}")
    return [EvaluationItem(name, found[name], _digest(found[name]), seconds) for name in sorted(found)[:limit]]


def _files(path: StrPath, suffixes: frozenset[str]) -> list[File]:
    files = find_files(path, suffixes)
    if not files and not os.path.isdir(path):
        raise InputError(f"there is no file or folder {quoted(path)}; check the path")
    return files


def _digest(path: Path) -> str:
    if path.exists() and not path.is_file():
        raise MediaError(f"expected a regular file, got {quoted(path)}; leave it out")
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise MediaError(f"{quoted(path)} cannot be read: {error.strerror}; check it or leave it out") from error
