"""Writing a file so that a reader finds the whole of it or nothing.

.narrows-3f9a….part   written here, beside the target, on the same disk
       │ flush, fsync
       ▼
out.flac              then given its name in one step
"""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from narrows.errors import MediaError
from narrows.media.files import StrPath, shown


@contextmanager
def written_beside(path: StrPath, *, overwrite: bool = False) -> Iterator[BinaryIO]:
    """A binary file, open for writing and reading, that takes the name `path` when the block ends without an error.

    `file.name` is the temporary path, for libraries that want a path. After any error, KeyboardInterrupt included, the
    temporary file is removed and what stood at `path` is as it was. Only a killed process leaves a `.narrows-*.part`.

    An existing file is refused before the block starts, and again at its end in case one appeared meanwhile; with
    `overwrite` it is replaced and its permissions are kept. Of a symbolic link, the file that it points to is replaced.

    Raises MediaError where the path cannot be written: it exists, is a folder or a device, its folder is missing or
    closed, or the disk is full (also when a write inside the block says so). Other errors of the block pass unchanged.
    """
    file = beside = None
    try:
        with _explained(path):
            target = os.path.realpath(path) if overwrite else os.path.abspath(path)
            permissions = _permissions(target, path, overwrite)
            # Not made of the target's name: that may already be as long as the file system allows.
            beside = os.path.join(os.path.dirname(target), f".narrows-{secrets.token_hex(8)}.part")
            file = open(beside, "x+b")  # noqa: SIM115
        try:
            yield file
        except OSError as error:
            if _is_full(error):
                raise unfinished(path, error) from error
            raise
        with _explained(path):
            file.flush()
            if permissions is not None:
                os.chmod(beside, permissions)
            os.fsync(file.fileno())
            file.close()
            if overwrite:
                os.replace(beside, target)
            else:
                _link(beside, target)
            _sync_folder(os.path.dirname(target))
    finally:
        with suppress(OSError):  # a full disk refuses what was still buffered a second time
            if file is not None:
                file.close()
        with suppress(OSError):  # renamed, or never made
            if beside is not None:
                os.unlink(beside)


def write_bytes(path: StrPath, data: bytes, *, overwrite: bool = False) -> None:
    """Write a whole file as `written_beside` does, with its errors."""
    with written_beside(path, overwrite=overwrite) as file:
        file.write(data)


def unfinished(path: StrPath, reason: OSError | str) -> MediaError:
    """The error for a file that could not be written to its end."""
    told = (reason.strerror or str(reason)) if isinstance(reason, OSError) else reason
    advice = "free some space" if _is_full(reason) else "try again, or in another folder"
    return MediaError(f"{shown(path)} could not be written to its end ({told.lower()}); nothing was kept: {advice}")


def _is_full(reason: object) -> bool:
    return isinstance(reason, OSError) and reason.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def _explained(path: StrPath) -> Iterator[None]:
    """Turns a failure to make or to name the file into one line."""
    name, folder = shown(path), shown(os.path.dirname(os.fspath(path)) or ".")
    try:
        yield
    except FileExistsError as error:
        raise _exists(path) from error
    except FileNotFoundError as error:
        raise MediaError(f"{name} cannot be written: no folder {folder}; make it with: mkdir -p {folder}") from error
    except PermissionError as error:
        raise MediaError(f"{name} cannot be written: {folder} is closed to this user; choose another folder") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        if isinstance(error, OSError) and _is_full(error):
            raise unfinished(path, error) from error
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(f"{name} cannot be written: {reason.lower()}; choose another name or folder") from error


def _permissions(target: str, path: StrPath, overwrite: bool) -> int | None:
    """Those of the file that is to be replaced; None where nothing stands yet. Refuses what may not be replaced."""
    try:
        mode = os.lstat(target).st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise MediaError(f"{shown(path)} is a folder, and a file is to be written; add a file name")
    if not overwrite:
        raise _exists(path)
    if not stat.S_ISREG(mode):
        raise MediaError(f"{shown(path)} is a pipe or a device, and a regular file is wanted; choose another name")
    return stat.S_IMODE(mode)


def _exists(path: StrPath) -> MediaError:
    return MediaError(f"{shown(path)} exists already; pass --force (overwrite=True in Python) or choose another name")


def _link(beside: str, target: str) -> None:
    """Name the file without ever replacing one: rename() would, link() fails when the name is taken."""
    try:
        os.link(beside, target)
        os.unlink(beside)
    except FileExistsError:
        raise
    except OSError:
        # No hard links on this file system (FAT, some network ones): take the name with an empty file, replace that.
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        try:
            os.replace(beside, target)
        except BaseException:
            os.unlink(target)
            raise


def _sync_folder(folder: str) -> None:
    """Make the new name itself survive a power cut, where the system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
