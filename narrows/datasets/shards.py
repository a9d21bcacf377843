"""Files of tokenized items: Parquet with one row per item, which any reader of Parquet understands.

    00007-of-00128.parquet    columns as in arrow_columns.py; about 1000 rows per group; constants in the metadata

Equal items give equal bytes (with one version of pyarrow). A file gets its name once all of it is on the disk, so a
file of this name is a finished shard.
"""

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from narrows.datasets.arrow_columns import (
    MetaTypes,
    RowGroup,
    arrow_schema,
    merge_types,
    meta_column,
    read_metadata,
    to_batch,
    with_meta,
)
from narrows.datasets.base import DatasetInfo, TokenizedItem
from narrows.errors import InputError, MediaError
from narrows.media.atomic import atomic_write
from narrows.media.files import StrPath, open_input, quoted

GROUP_ROWS = 1000  # largest number of rows in a group
GROUP_VALUES = 1 << 24  # a group with so many values is full: 32 MiB of 16 bits
T = TypeVar("T")


def write_shard(
    path: StrPath,
    items: Iterable[TokenizedItem],
    info: DatasetInfo,
    *,
    meta_types: MetaTypes | None = None,
    overwrite: bool = False,
) -> None:
    """Write items, in order, as one file; at most one group of them is in memory.

    The type of a field of `meta` follows from all its values: integer, float, boolean or text; JSON text for anything
    else.

    Args:
        path: of the file.
        items: the items.
        info: of the data set.
        meta_types: types of the `meta` in other files, where this file is to have the same columns.
        overwrite: whether an existing file is replaced.

    Raises:
        InputError: for items that do not fit `info` or share a key.
        MediaError: as `atomic_write`.
    """
    with (
        atomic_write(path, overwrite=overwrite) as file,
        tempfile.TemporaryFile(dir=os.path.dirname(file.name)) as temporary,
    ):
        types = merge_types(meta_types or {}, _write_temporary(temporary, items, info))
        temporary.seek(0)
        writer = pq.ParquetWriter(
            file,
            arrow_schema(info, types),
            version="2.6",
            compression="zstd",
            compression_level=3,
            data_page_version="2.0",
            write_page_checksum=True,
        )
        with writer, pa.ipc.open_stream(temporary) as batches:
            for batch in batches:
                columns = batch.columns[:-1]
                if types:
                    columns.append(meta_column(map(json.loads, batch.column("meta").to_pylist()), types))
                writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=arrow_schema(info, types)), len(batch))


def read_shard(path: StrPath) -> "ShardFile":
    """A finished shard. Raises MediaError for a file that is missing, damaged or of another kind."""
    return ShardFile(path)


class ShardFile:
    """A finished shard; iterate over its items.

    The file is opened for each read, so many ShardFiles can be kept and sent to other processes. Every method raises
    MediaError where the file turns out to be damaged.

    Attributes:
        path: of the file.
        metadata: what all items have in common, and the types of `meta`.
        groups: the number of rows of each group.
    """

    def __init__(self, path: StrPath) -> None:
        self.path = path
        with self._opened() as file:
            self.metadata = read_metadata(file.schema_arrow.metadata)
            self._schema = arrow_schema(self.metadata.info, self.metadata.meta_types)
            if not file.schema_arrow.equals(self._schema, check_metadata=True):
                raise InputError("its columns do not fit its metadata")
            self.groups = tuple(file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups))
            if sum(self.groups) != file.metadata.num_rows or any(not 0 < rows <= GROUP_ROWS for rows in self.groups):
                raise InputError(f"it has groups of {self.groups[:4]} rows")

    @property
    def info(self) -> DatasetInfo:
        """What all items have in common."""
        return self.metadata.info

    def __len__(self) -> int:
        return sum(self.groups)

    def __iter__(self) -> Iterator[TokenizedItem]:
        for index in range(len(self.groups)):
            group = self.group(index)
            yield from (self.checked(group.item, row) for row in range(len(group)))

    def group(self, index: int) -> RowGroup:
        """The rows of one group."""
        with self._opened() as file:
            group = RowGroup(file.read_row_group(index, use_threads=False), self.metadata)
            if len(group) != self.groups[index]:
                raise InputError(f"a group has {len(group)} rows instead of {self.groups[index]}")
            return group

    def keys(self) -> list[str]:
        """The keys of all items."""
        return self._column("key").to_pylist()

    def numbers(self) -> NDArray[np.int64]:
        """The place in the source of each item."""
        return self._column("number").to_numpy()

    def _column(self, name: str) -> pa.ChunkedArray:
        with self._opened() as file:
            return file.read(columns=[name], use_threads=False).column(name)

    def checked(self, function: Callable[..., T], *arguments: object) -> T:
        """Call a function on this file's columns; its errors become a MediaError that names the file."""
        with self._explained():
            return function(*arguments)

    @contextmanager
    def _opened(self) -> Iterator[pq.ParquetFile]:
        with open_input(self.path) as file, self._explained():
            # No pre-buffering: its threads outlive the file.
            yield pq.ParquetFile(file, page_checksum_verification=True, pre_buffer=False)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, ValueError, KeyError, IndexError, OverflowError, OSError, MemoryError) as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise MediaError(
                f"{quoted(self.path)} cannot be read ({reason}); remove it and run codec tokenize again"
            ) from error


def _write_temporary(file: BinaryIO, items: Iterable[TokenizedItem], info: DatasetInfo) -> MetaTypes:
    """Write items to a temporary file, with `meta` as JSON, until the types of all fields are known; return these."""
    types: MetaTypes = {}
    keys = set[str]()
    schema = pa.schema([*arrow_schema(info, {}), ("meta", pa.string())])
    with pa.ipc.new_stream(file, schema) as stream:
        for group in _grouped(items):
            for item in group:
                if item.key in keys:
                    raise InputError(f"expected items with different keys, got the key {item.key!r} twice")
                keys.add(item.key)
                types = with_meta(types, item.meta)
            texts = pa.array([json.dumps(dict(item.meta), sort_keys=True) for item in group], pa.string())
            stream.write_batch(to_batch(group, texts, info, schema))
    return types


def _grouped(items: Iterable[TokenizedItem]) -> Iterator[list[TokenizedItem]]:
    group, values = list[TokenizedItem](), 0
    for item in items:
        group.append(item)
        values += item.values.size
        if len(group) == GROUP_ROWS or values >= GROUP_VALUES:
            yield group
            group, values = [], 0
    if group:
        yield group
