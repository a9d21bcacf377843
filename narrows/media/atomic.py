"""Atomic writing of files: a reader finds the complete file or none.

.narrows-3f9a….part   temporary file in the folder of the target, so on the same disk
       │ flush, fsync
       ▼
out.flac              renamed in one step

For a file object the temporary file is in the system's folder for them, and is copied to the file object at the end.
"""

import errno
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from narrows.errors import MediaError, OutputExists
from narrows.media.files import StrPath, quoted
from narrows.media.targets import Target, check_file, copy_to


@contextmanager
def atomic_write(target: Target, *, overwrite: bool = False) -> Iterator[BinaryIO]:
    """A context manager that gives a binary temporary file and renames it to the target at the end of the block.

    The file is open for writing and reading; `file.name` is its temporary path, for libraries that need a path. After
    any error in the block, KeyboardInterrupt included, the temporary file is removed and the target is unchanged. Only
    a killed process leaves a `.narrows-*.part`.

    Args:
        target: the path of the output file, or a binary file object: the complete file is written to it at the end of
            the block, from its position on.
        overwrite: whether an existing file may be replaced; its permissions are kept. A symbolic link stays, the file
            that it points to is replaced. Else an existing file is an error, at the start of the block and at its end.

    Raises:
        MediaError: where the path cannot be written: it exists, is a folder or a device, its folder is missing or may
            not be written, or the disk is full (also where a write in the block fails for that). Other errors of the
            block are passed on.
        InputError: for an object that is neither a path nor a binary file object that can be written to.
    """
    if isinstance(target, str | os.PathLike):
        with _renamed(target, overwrite, quoted(target)) as file:
            yield file
        return
    check_file(target)
    with _renamed(os.path.join(tempfile.gettempdir(), "file"), None, quoted(target)) as file:
        yield file
        file.seek(0)
        copy_to(target, file)


@contextmanager
def _renamed(path: StrPath, overwrite: bool | None, name: str) -> Iterator[BinaryIO]:
    """A temporary file beside `path`, which is renamed to it at the end of the block; for None it is removed there.

    Errors have `name`.
    """
    file = temporary = None
    try:
        with _media_errors(path, name):
            target = os.path.realpath(path) if overwrite else os.path.abspath(path)
            permissions = None if overwrite is None else _permissions(target, path, overwrite)
            # Not derived from the name of the target, which may already have the greatest length of the file system.
            temporary = os.path.join(os.path.dirname(target), f".narrows-{secrets.token_hex(8)}.part")
            file = open(temporary, "x+b")  # noqa: SIM115
        try:
            yield file
        except OSError as error:
            if _is_full(error):
                raise write_error(name, error) from error
            raise
        if overwrite is None:
            return
        with _media_errors(path, name):
            file.flush()
            if permissions is not None:
                os.chmod(temporary, permissions)
            os.fsync(file.fileno())
            file.close()
            if overwrite:
                os.replace(temporary, target)
            else:
                _rename_to_new(temporary, target)
            _sync_folder(os.path.dirname(target))
    finally:
        with suppress(OSError):  # on a full disk, flushing fails again
            if file is not None:
                file.close()
        with suppress(OSError):  # already renamed, or never created
            if temporary is not None:
                os.unlink(temporary)


def write_bytes(path: StrPath, data: bytes, *, overwrite: bool = False) -> None:
    """Write a whole file as `atomic_write` does, with its errors."""
    with atomic_write(path, overwrite=overwrite) as file:
        file.write(data)


def write_error(name: str, reason: OSError | str) -> MediaError:
    """The error for a file, named as `quoted` does, that could not be written completely."""
    text = (reason.strerror or str(reason)) if isinstance(reason, OSError) else reason
    advice = "free some space" if _is_full(reason) else "try again, or in another folder"
    return MediaError(f"{name} could not be written to its end ({text.lower()}), so nothing was kept; {advice}")


def _is_full(reason: object) -> bool:
    return isinstance(reason, OSError) and reason.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def _media_errors(path: StrPath, name: str) -> Iterator[None]:
    """Turns errors of creating and renaming the file into a MediaError."""
    folder = quoted(os.path.dirname(os.fspath(path)) or ".")
    try:
        yield
    except FileExistsError as error:
        raise _exists(path) from error
    except FileNotFoundError as error:
        raise MediaError(f"{name} cannot be written: no folder {folder}; create it with: mkdir -p {folder}") from error
    except PermissionError as error:
        raise MediaError(f"{name} cannot be written: no permission for the folder {folder}; choose another") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        if isinstance(error, OSError) and _is_full(error):
            raise write_error(name, error) from error
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(f"{name} cannot be written: {reason.lower()}; choose another name or folder") from error


def _permissions(target: str, path: StrPath, overwrite: bool) -> int | None:
    """The permissions of the file to be replaced; None for a new file. Raises MediaError for one that must stay."""
    try:
        mode = os.lstat(target).st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise MediaError(f"expected the path of a file, got {quoted(path)}, which is a folder; add a file name")
    if not overwrite:
        raise _exists(path)
    if not stat.S_ISREG(mode):
        raise MediaError(
            f"expected a regular file, got {quoted(path)}, which is a pipe or a device; choose another name"
        )
    return stat.S_IMODE(mode)


def _exists(path: StrPath) -> OutputExists:
    return OutputExists(
        f"{quoted(path)} exists already; pass --force (overwrite=True in Python) or choose another name"
    )


def _rename_to_new(source: str, target: str) -> None:
    """Rename a file, but never replace one: rename() would replace it, link() fails if the target exists."""
    try:
        os.link(source, target)
        os.unlink(source)
    except FileExistsError:
        raise
    except OSError:
        # No hard links on this file system (FAT, some network ones): create an empty target, then replace it.
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        try:
            os.replace(source, target)
        except BaseException:
            os.unlink(target)
            raise


def _sync_folder(folder: str) -> None:
    """Write the folder's entry to the disk too, on systems that can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
