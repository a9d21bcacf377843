"""Lists the files below a folder."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from narrows.errors import InputError
from narrows.media.files import shown


@dataclass(frozen=True, slots=True)
class File:
    """A file below a folder.

    Attributes:
        path: of the file.
        name: its path relative to the folder, with slashes.
        size: in bytes; None if the file is missing.
    """

    path: str
    name: str
    size: int | None


def suffix(path: str) -> str:
    """The suffix of a path with its dot, in lower case."""
    return os.path.splitext(path)[1].lower()


def walk(folder: str) -> Iterator[File]:
    """All files below a folder, in no particular order.

    Symbolic links are followed, but not to a folder that contains them. Names that begin with a dot are skipped.

    Raises:
        InputError: for a folder that cannot be read.
    """
    pending = [(os.path.abspath(folder), "", frozenset[tuple[int, int]]())]
    while pending:
        path, prefix, parents = pending.pop()
        try:
            status = os.stat(path)
            identity = (status.st_dev, status.st_ino)
            if identity in parents:
                continue
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir():
                        pending.append((entry.path, f"{prefix}{entry.name}/", parents | {identity}))
                    else:
                        yield File(entry.path, text(prefix + entry.name), size(entry.path))
        except OSError as error:
            raise InputError(f"the folder {shown(path)} cannot be read: {error.strerror}; check it") from error


def size(path: str) -> int | None:
    """The size of a file in bytes; None if it is missing."""
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):  # ValueError: a NUL character in the path
        return None


def text(name: str) -> str:
    """A file name as text that can be written as UTF-8; bytes that are not UTF-8 are escaped with backslashes."""
    return name if name.isascii() else os.fsencode(name).decode("utf-8", "backslashreplace")
