"""Opening a file for reading, with every refusal as one line."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from narrows.errors import MediaError

StrPath = str | os.PathLike[str]


def shown(path: StrPath) -> str:
    """The path in quotes, line breaks and unprintable characters escaped, so that a message stays one line."""
    return repr(os.fspath(path))


def open_input(path: StrPath) -> BinaryIO:
    """Open a regular, non-empty file, unbuffered and at its first byte.

    Raises MediaError for whatever else the path may be: missing, a folder, a pipe, empty, not permitted.
    """
    name = shown(path)
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
