"""Where media files are written: paths and binary file objects, and the format of what is written there."""

import inspect
import io
import os
from collections.abc import Collection
from functools import partial
from typing import BinaryIO, Protocol

from narrows.errors import InputError, MediaError, shortened
from narrows.media.files import StrPath, library_errors, quoted

BLOCK = 1 << 16  # bytes per call of write


class WritableFile(Protocol):
    """A binary file object: an open file, `io.BytesIO`, a response. It need not be able to seek."""

    def write(self, data: bytes, /) -> object:
        """Append bytes, all or the first of them; returns their number, or None for all."""


Target = StrPath | WritableFile


def suffix_of(target: Target, format: str | None, known: Collection[str]) -> str:
    """The suffix of an output with its dot, in lower case.

    Args:
        target: a path, or a binary file object.
        format: a suffix without its dot; needed for a file object, and next to a path that of the path.
        known: the suffixes of formats that can be written.

    Raises:
        InputError: for an unknown suffix or format, a format that is not that of the path, a file object without a
            format, and an object that cannot be written to.
    """
    names = ", ".join(sorted(suffix.removeprefix(".") for suffix in known))
    if format is not None and (not isinstance(format, str) or f".{format}".lower() not in known):
        raise InputError(f"expected one of the formats {names}, got {shortened(format)}")
    if isinstance(target, str | os.PathLike):
        suffix = os.path.splitext(os.fspath(target))[1]
        if suffix.lower() not in known:
            raise InputError(
                f"expected one of the suffixes {', '.join(known)}, got "
                f"{shortened(suffix)[1:-1] if suffix else 'none'} in {quoted(target)}"
            )
        if format is not None and f".{format}".lower() != suffix.lower():
            raise InputError(
                f"expected the format of the suffix of {quoted(target)}, got {shortened(format)}; leave it out"
            )
        return suffix.lower()
    check_file(target)
    if format is None:
        raise InputError(
            f"expected a format ({names}) for {quoted(target)}, got none; give format={names.split(', ')[-1]!r}"
        )
    return f".{format}".lower()


def check_file(target: Target) -> None:
    """Raise InputError for an object that is neither a path nor a binary file object that can be written to."""
    if isinstance(target, str | os.PathLike):
        return
    if not callable(getattr(target, "write", None)) or isinstance(target, type):
        raise InputError(f"expected a path or a binary file to write to, got {shortened(target)}")
    if isinstance(target, io.TextIOBase):
        raise InputError(
            f'expected a binary file, got {quoted(target)}, which is opened as text; open it with mode "wb"'
        )
    if getattr(target, "closed", False):
        raise InputError(f"expected an open file, got {quoted(target)}, which is closed; open it again")
    if isinstance(target, io.IOBase) and not target.writable():
        raise InputError(
            f'expected a file to write to, got {quoted(target)}, opened for reading; open it with mode "wb"'
        )


def copy_to(target: WritableFile, file: BinaryIO) -> None:
    """Write all of a file to a file object, from its position on. Raises MediaError if that fails."""

    with library_errors(target, partial(_failure, target)):
        while data := file.read(BLOCK):
            _write_all(target, data)
        if callable(flush := getattr(target, "flush", None)):
            flush()


def _write_all(target: WritableFile, data: bytes) -> None:
    """Write all of the data, in several calls where a call writes a part."""
    while data:
        written = target.write(data)
        if written is None and not isinstance(target, io.RawIOBase):  # many objects return nothing, and write all
            return
        if inspect.iscoroutine(written):
            written.close()
        if isinstance(written, bool) or not isinstance(written, int) or not 1 <= written <= len(data):
            reason = f"its write returned {shortened(written)} for {len(data)} bytes"
            raise MediaError(_failure(target, reason))
        data = data[written:]


def _failure(target: WritableFile, reason: str) -> str:
    return f"{quoted(target)} could not be written to its end ({reason}); check what is behind it"
