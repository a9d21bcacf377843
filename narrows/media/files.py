"""Opens files for reading: paths, bytes and file objects. Every error has a message of one line.

path                               ─┐
bytes, file object ─▶ MemoryFile   ─┴─▶ open_input ─▶ a file that can seek, opened as often as needed
"""

import inspect
import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

from narrows.errors import InputError, MediaError, NarrowsError, shortened
from narrows.media.buffers import Bytes, byte_view

StrPath = str | os.PathLike[str]
MAX_PATH = 4096  # characters; a longer text is no path


@dataclass(frozen=True)
class MemoryFile:
    """A file in memory, for example a member of an archive; `name` is used in messages.

    It holds bytes, not a Python file object: C libraries lose exceptions that a Python file object raises, and Ctrl-C.
    """

    name: str
    data: bytes = field(repr=False)


class ReadableFile(Protocol):
    """A binary file object: an open file, `io.BytesIO`, `UploadFile.file`. It need not be able to seek."""

    def read(self, size: int = ..., /) -> bytes:
        """The next `size` bytes, or all up to the end."""


StoredFile = StrPath | MemoryFile
Source = StoredFile | Bytes | ReadableFile


def stored(source: Source) -> StoredFile:
    """The file of a source, which can be opened more than once: its path, or its bytes.

    A file object is read from its position to its end, into memory, and stays open.

    Raises:
        InputError: for an object that is no source, such as a file opened as text, and for a closed file.
        MediaError: for a file object that cannot be read.
    """
    name = quoted(source)
    if isinstance(source, str) and (len(source) > MAX_PATH or "\0" in source):
        raise InputError(
            f"expected a path, got a text of {len(source)} characters: {shortened(source)}; give bytes, or a path"
        )
    if isinstance(source, str | os.PathLike | MemoryFile):
        return source
    if isinstance(source, Bytes):
        data = source if isinstance(source, bytes) else bytes(byte_view(source, "the bytes of a media file"))
        return MemoryFile(_name(source), data)
    if isinstance(source, io.TextIOBase):
        raise InputError(f'expected a binary file, got {name}, which is opened as text; open it with mode "rb"')
    if getattr(source, "closed", False):
        raise InputError(f"expected an open file, got {name}, which is closed; open it again")
    if not hasattr(source, "read"):
        raise InputError(f'expected a file to read, got {name}, which can only be written; open it with mode "rb"')
    with library_errors(source, lambda reason: f"{name} cannot be read ({reason}); try again, or save it to a file"):
        try:
            read = source.read()
        except io.UnsupportedOperation as error:
            raise MediaError(f'{name} cannot be read ({reason_of(error)}); open it again with mode "rb"') from error
    if inspect.iscoroutine(read):
        read.close()
        raise InputError(f"expected a binary file, got {name} of type {type(source).__name__}; give its attribute file")
    if not isinstance(read, bytes | bytearray | memoryview):
        raise InputError(
            f"expected a file whose read gives bytes, got {type(read).__name__} from {name}; open it again"
        )
    return MemoryFile(_name(source), bytes(read))


def quoted(source: object) -> str:
    """The path or name of a source or target in quotes for a message, on one line and shortened.

    Raises InputError for an object that is neither.
    """
    name = repr(_name(source))
    return name if len(name) <= MAX_PATH + 2 else f"{name[:40]}...{name[-40:]}"


def _name(source: object) -> str:
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    if isinstance(source, MemoryFile):
        return source.name
    if isinstance(source, Bytes):
        return "the given bytes"
    if isinstance(source, type) or not any(callable(getattr(source, name, None)) for name in ("read", "write")):
        raise InputError(
            f"expected a path, bytes or a binary file, got {shortened(source)} of type {type(source).__name__}"
        )
    # GzipFile has both, and warns of `filename`.
    name = getattr(source, "name" if hasattr(source, "name") else "filename", None)
    return name if isinstance(name, str) and name else "the given file"


@contextmanager
def library_errors(source: object, message: Callable[[str], str]) -> Iterator[None]:
    """Turns every exception of a media library, of whatever class, into a MediaError.

    Args:
        source: the file that is read or written.
        message: makes the message from the reason that the library gives.
    """
    try:
        yield
    except NarrowsError:
        raise
    except MemoryError as error:
        raise MediaError(
            f"not enough memory for {quoted(source)}; cut it into parts, or use a machine with more memory"
        ) from error
    except Exception as error:
        raise MediaError(message(reason_of(error))) from error


def reason_of(error: Exception) -> str:
    """What an exception of a library says, as part of a line: without a capital in front and a full stop behind."""
    text = getattr(error, "strerror", None) or getattr(error, "error_string", None) or str(error)
    line = " ".join(str(text).split()).rstrip(". ") or "no reason given"
    return line[0].lower() + line[1:]


def open_input(source: Source) -> BinaryIO:
    """Open a regular file without a buffer, or a file in memory without a copy.

    Raises:
        MediaError: for a path that does not exist, a folder, a pipe or device, an empty file, or a file that may not be
            read; and as `stored` does.
        InputError: as `stored` does.
    """
    path = stored(source)
    name = quoted(path)
    if isinstance(path, MemoryFile):
        if not path.data:
            raise MediaError(f"{name} is empty (0 bytes); create or download it again")
        return io.BytesIO(path.data)
    try:
        # Checked before opening: opening a pipe waits until another process opens it for writing.
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise MediaError(f"expected a file, got {name}, which is a folder; give one of the files in it")
        if not stat.S_ISREG(mode):
            raise MediaError(
                f"expected a regular file, got {name}, which is a pipe or a device; save it to a file first"
            )
        file = open(path, "rb", buffering=0)  # noqa: SIM115
    except FileNotFoundError as error:
        raise MediaError(f"there is no file {name}{_missing_folder(path)}; check the path") from error
    except PermissionError as error:
        raise MediaError(f"{name} cannot be opened: no permission to read; allow it with: chmod +r {name}") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        raise MediaError(
            f"{name} cannot be opened: {getattr(error, 'strerror', None) or error}; check the path"
        ) from error
    if os.fstat(file.fileno()).st_size == 0:
        file.close()
        raise MediaError(f"{name} is empty (0 bytes); create or download it again")
    return file


def size_of(file: BinaryIO) -> int:
    """The size in bytes of an open file. The position in it does not change."""
    position = file.tell()
    size = file.seek(0, os.SEEK_END)
    file.seek(position)
    return size


class FilePart(io.RawIOBase):
    """The bytes of an open file from `start` to `end`, as a file of its own that leaves the other open."""

    def __init__(self, file: BinaryIO, start: int, end: int) -> None:
        self._file, self._start, self._end, self._at = file, start, end, 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to an offset and return it."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._end - self._start}[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        left = max(0, self._end - self._start - self._at)
        self._file.seek(self._start + self._at)
        data = self._file.read(left if size < 0 else min(size, left))
        self._at += len(data)
        return data

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill a buffer with the next bytes, and return their number."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _missing_folder(path: StrPath) -> str:
    """Text that names the first missing folder of the path; empty if all folders exist."""
    for folder in reversed(Path(path).parents):
        if not folder.exists():
            return f" (nor a folder {quoted(folder)})"
    return ""
