"""Reads the bytes of an item."""

import os
from collections import deque
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

from narrows.datasets.base import Location, SourceItem
from narrows.errors import MediaError
from narrows.media.files import MemoryFile, Source, open_input, quoted

if TYPE_CHECKING:
    from narrows.datasets.sources.columnar import Cells

_AGAIN = "get another copy"
CACHED_BATCHES = 16  # mostly of one row


def open_item(item: SourceItem) -> Source:
    """What narrows.media reads: a path, or bytes in memory with the item's key as their name.

    Items in the order of their locations read their files from front to back. Several threads may call this; rows of
    tables are read by one of them at a time. Raises MediaError, naming the item, for bytes that cannot be read.
    """
    location = item.location
    if location.row is None and location.start is None:
        return location.path
    name = f"{location.path}: {item.key}"
    data = _range(location, name) if location.row is None else _cell(location, name)
    return data if isinstance(data, str) else MemoryFile(name, data)


def _range(location: Location, name: str) -> bytes:
    start, size = location.start or 0, location.size or 0
    with open_input(location.path) as file:
        length = file.seek(0, os.SEEK_END)
        if start + size > length:
            raise MediaError(f"{quoted(name)} is truncated: expected {start + size} bytes, got {length}; {_AGAIN}")
        file.seek(start)
        data = bytearray()
        while len(data) < size and (part := file.read(size - len(data))):
            data += part
    return bytes(data)


def _cell(location: Location, name: str) -> bytes | str:
    """The bytes in a cell of a table, or the path in it."""
    assert location.row is not None
    assert location.column is not None
    from pyarrow import ArrowException

    try:
        with _lock:
            changed = os.stat(location.path).st_mtime_ns
            value = _column_reader(location.path, location.column, changed).cell(location.row)
    except (ArrowException, OSError, LookupError, UnicodeDecodeError) as error:
        raise MediaError(f"{quoted(name)} cannot be read ({' '.join(str(error).split())}); {_AGAIN}") from error
    if isinstance(value, dict):
        path, value = value.get("path"), value.get("bytes")
        if value is None and path:
            return os.path.join(os.path.dirname(location.path), path)
    return value or b""


class _ColumnReader:
    """A column of a table, read from front to back. The last batches are cached: threads are not quite in order."""

    def __init__(self, path: str, column: str, changed: int) -> None:
        self._source = (path, column)
        self._cells: Cells = iter(())
        self._cache: deque[tuple[int, Any]] = deque(maxlen=CACHED_BATCHES)

    def cell(self, row: int) -> Any:
        """The value of a row. Raises LookupError beyond the last one."""
        if not self._cache or row < self._cache[0][0]:
            self._cache.clear()
            from narrows.datasets.sources.columnar import cells  # imports pyarrow

            self._cells = cells(*self._source, row)
        while not self._cache or row >= self._cache[-1][0] + len(self._cache[-1][1]):
            batch = next(self._cells, None)
            if batch is None:
                self._cache.clear()
                raise LookupError(f"the table ends before row {row}")
            self._cache.append(batch)
        first, values = next(batch for batch in self._cache if batch[0] <= row < batch[0] + len(batch[1]))
        return values[row - first].as_py()


_column_reader = lru_cache(maxsize=2)(_ColumnReader)
_lock = Lock()
