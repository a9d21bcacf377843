"""Files in folders, whatever they are called."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from narrows.errors import InputError
from narrows.media.files import shown


@dataclass(frozen=True, slots=True)
class File:
    """A file. name: its path below a folder, with slashes; size: in bytes, None where it is missing."""

    path: str
    name: str
    size: int | None


def suffix(path: str) -> str:
    """The suffix of a path with its dot, in lower case."""
    return os.path.splitext(path)[1].lower()


def walk(folder: str) -> Iterator[File]:
    """All files below a folder, in no order; symbolic links are followed, but not into a folder that they lie in.

    What begins with a dot is passed over, as globs do. Raises InputError for a folder that may not be read.
    """
    waiting = [(os.path.abspath(folder), "", frozenset[tuple[int, int]]())]
    while waiting:
        path, name, above = waiting.pop()
        try:
            told = os.stat(path)
            here = (told.st_dev, told.st_ino)
            if here in above:
                continue
            with os.scandir(path) as found:
                for one in found:
                    if one.name.startswith("."):
                        continue
                    if one.is_dir():
                        waiting.append((one.path, f"{name}{one.name}/", above | {here}))
                    else:
                        yield File(one.path, text(name + one.name), size(one.path))
        except OSError as error:
            raise InputError(f"the folder {shown(path)} cannot be read: {error.strerror}; check it") from error


def size(path: str) -> int | None:
    """Bytes of a file, None where it is missing."""
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):  # ValueError: a NUL character in the path
        return None


def text(name: str) -> str:
    """A name of the file system as text that can be written as UTF-8: what is none is escaped."""
    return name if name.isascii() else os.fsencode(name).decode("utf-8", "backslashreplace")
