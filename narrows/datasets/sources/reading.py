"""The bytes of an entry."""

import os
from collections import deque
from functools import lru_cache
from threading import Lock
from typing import Any

from pyarrow import ArrowException

from narrows.datasets.base import Entry, Place
from narrows.datasets.sources.tables import Cells, cells
from narrows.errors import MediaError
from narrows.media.files import MemoryFile, Source, open_input, quoted

_AGAIN = "get another copy"
KEPT = 16  # batches, mostly rows


def opened(entry: Entry) -> Source:
    """What narrows.media reads: a path, or the bytes of a part of a file with the entry's key as its name.

    Entries in the order of their places read their files from front to back. Several threads may call this; rows of
    tables are then read by one of them at a time. Raises MediaError, naming the item, for what cannot be had.
    """
    place = entry.place
    if place.row is None and place.start is None:
        return place.path
    name = f"{place.path}: {entry.key}"
    data = _slice(place, name) if place.row is None else _cell(place, name)
    return data if isinstance(data, str) else MemoryFile(name, data)


def _slice(place: Place, name: str) -> bytes:
    start, size = place.start or 0, place.size or 0
    with open_input(place.path) as file:
        length = file.seek(0, os.SEEK_END)
        if start + size > length:
            raise MediaError(f"{quoted(name)} is cut: it claims {start + size} bytes of {length}; {_AGAIN}")
        file.seek(start)
        data = bytearray()
        while len(data) < size and (part := file.read(size - len(data))):
            data += part
    return bytes(data)


def _cell(place: Place, name: str) -> bytes | str:
    """The bytes of a row of a table, or the path that stands in their place."""
    assert place.row is not None
    assert place.column is not None
    try:
        with _lock:
            value = _rows(place.path, place.column, os.stat(place.path).st_mtime_ns).cell(place.row)
    except (ArrowException, OSError, LookupError, UnicodeDecodeError) as error:
        raise MediaError(f"{quoted(name)} cannot be read ({' '.join(str(error).split())}); {_AGAIN}") from error
    if isinstance(value, dict):
        path, value = value.get("path"), value.get("bytes")
        if value is None and path:
            return os.path.join(os.path.dirname(place.path), path)
    return value or b""


class _Rows:
    """A column of a table, read from front to back; some batches before the last are kept, since threads are not quite
    in order."""

    def __init__(self, path: str, column: str, changed: int) -> None:
        self._source = (path, column)
        self._cells: Cells = iter(())
        self._kept: deque[tuple[int, Any]] = deque(maxlen=KEPT)

    def cell(self, row: int) -> Any:
        """The value of a row. Raises LookupError beyond the last one."""
        if not self._kept or row < self._kept[0][0]:
            self._kept.clear()
            self._cells = cells(*self._source, row)
        while not self._kept or row >= self._kept[-1][0] + len(self._kept[-1][1]):
            batch = next(self._cells, None)
            if batch is None:
                self._kept.clear()
                raise LookupError(f"the table ends before row {row}")
            self._kept.append(batch)
        first, values = next(batch for batch in self._kept if batch[0] <= row < batch[0] + len(batch[1]))
        return values[row - first].as_py()


_rows = lru_cache(maxsize=2)(_Rows)
_lock = Lock()
