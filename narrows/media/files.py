"""Opening a file for reading, with every refusal as one line."""

import io
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from narrows.errors import MediaError

StrPath = str | os.PathLike[str]


@dataclass(frozen=True)
class MemoryFile:
    """The bytes of a file that is no file by itself, a member of an archive for example; `name` is for messages.

    Bytes and not a file object of Python's: the C libraries that decode would lose its errors, and Ctrl-C in it.
    """

    name: str
    data: bytes = field(repr=False)


Source = StrPath | MemoryFile


def shown(path: Source) -> str:
    """The path in quotes, line breaks and unprintable characters escaped, so that a message stays one line."""
    return repr(path.name if isinstance(path, MemoryFile) else os.fspath(path))


def open_input(path: Source) -> BinaryIO:
    """Open a regular, non-empty file, unbuffered and at its first byte; or bytes in memory, without a copy.

    Raises MediaError for whatever else the path may be: missing, a folder, a pipe, empty, not permitted.
    """
    name = shown(path)
    if isinstance(path, MemoryFile):
        if not path.data:
            raise MediaError(f"{name} is empty (0 bytes); make or download it again")
        return io.BytesIO(path.data)
    try:
        # Asked before opening: to open a pipe is to wait for whoever writes to it.
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise MediaError(f"{name} is a folder; give one of the files in it")
        if not stat.S_ISREG(mode):
            raise MediaError(f"{name} is a pipe or a device, and a regular file is wanted; save it to a file first")
        file = open(path, "rb", buffering=0)  # noqa: SIM115
    except FileNotFoundError as error:
        raise MediaError(f"there is no file {name}{_nearest(path)}; check the path") from error
    except PermissionError as error:
        raise MediaError(f"{name} may not be read by this user; change that with: chmod +r {name}") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        raise MediaError(
            f"{name} cannot be opened: {getattr(error, 'strerror', None) or error}; check the path"
        ) from error
    if os.fstat(file.fileno()).st_size == 0:
        file.close()
        raise MediaError(f"{name} is empty (0 bytes); make or download it again")
    return file


def _nearest(path: StrPath) -> str:
    """Names the first folder of the path that is missing, if one is."""
    for folder in reversed(Path(path).parents):
        if not folder.exists():
            return f" (nor a folder {shown(folder)})"
    return ""
