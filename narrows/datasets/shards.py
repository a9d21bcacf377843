"""Files of tokenized items: Parquet, a row an item, which any reader of Parquet understands.

    00007-of-00128.parquet    the columns of columns.py; about 1000 rows in a group; what is constant in the metadata

Equal rows give equal bytes (with one version of pyarrow). A file takes its name when all of it is on the disk, so the
name is the mark that a shard is finished.
"""

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from narrows.datasets.base import Made, Row
from narrows.datasets.columns import Columns, Kinds, about, joined, merged, metas, schema, table
from narrows.errors import InputError, MediaError
from narrows.media.atomic import atomic_write
from narrows.media.files import StrPath, open_input, shown

ROWS = 1000  # of a group at most
VALUES = 1 << 24  # of a group, beyond which no row is added to it: 32 MiB of 16 bits
T = TypeVar("T")


def write_shard(
    path: StrPath, rows: Iterable[Row], made: Made, *, kinds: Kinds | None = None, overwrite: bool = False
) -> None:
    """Write rows, in their order, as one file; no more than a group of them is in memory.

    The type of a field of meta follows from all its values: integers, floats, booleans or texts, JSON in a text for
    anything else. kinds: of the metas of other files, where this one is to have columns that fit those too.

    Raises InputError for rows that are not of this making or share a key, MediaError as `atomic_write`.
    """
    with (
        atomic_write(path, overwrite=overwrite) as file,
        tempfile.TemporaryFile(dir=os.path.dirname(file.name)) as held,
    ):
        found = merged(kinds or {}, _hold(held, rows, made))
        held.seek(0)
        writer = pq.ParquetWriter(
            file,
            schema(made, found),
            version="2.6",
            compression="zstd",
            compression_level=3,
            data_page_version="2.0",
            write_page_checksum=True,
        )
        with writer, pa.ipc.open_stream(held) as batches:
            for batch in batches:
                columns = batch.columns[:-1]
                if found:
                    columns.append(metas(map(json.loads, batch.column("meta").to_pylist()), found))
                writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema(made, found)), len(batch))


def read_shard(path: StrPath) -> "ShardFile":
    """A finished shard. Raises MediaError for a file that is missing, damaged or of another kind."""
    return ShardFile(path)


class ShardFile:
    """A finished shard: `about` (what its rows share), `groups` (how many rows each group has); iterate over its rows.

    The file is opened for each thing that is read, so a ShardFile can be kept in large numbers and sent to processes.
    Raises MediaError wherever the file turns out to be damaged.
    """

    def __init__(self, path: StrPath) -> None:
        self.path = path
        with self._opened() as file:
            self.about = about(file.schema_arrow.metadata)
            self._schema = schema(self.about.made, self.about.kinds)
            if not file.schema_arrow.equals(self._schema, check_metadata=True):
                raise InputError("its columns are others than its metadata says")
            self.groups = tuple(file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups))
            if sum(self.groups) != file.metadata.num_rows or any(not 0 < rows <= ROWS for rows in self.groups):
                raise InputError(f"it has groups of {self.groups[:4]} rows")

    @property
    def made(self) -> Made:
        """What is the same for all rows."""
        return self.about.made

    def __len__(self) -> int:
        return sum(self.groups)

    def __iter__(self) -> Iterator[Row]:
        for index in range(len(self.groups)):
            rows = self.group(index)
            yield from (self.checked(rows.row, place) for place in range(len(rows)))

    def group(self, index: int) -> Columns:
        """The rows of one group."""
        with self._opened() as file:
            columns = Columns(file.read_row_group(index, use_threads=False), self.about)
            if len(columns) != self.groups[index]:
                raise InputError(f"a group has {len(columns)} rows, {self.groups[index]} wanted")
            return columns

    def keys(self) -> list[str]:
        """The keys of all rows."""
        with self._opened() as file:
            return file.read(columns=["key"], use_threads=False).column("key").to_pylist()

    def checked(self, act: Callable[..., T], *arguments: object) -> T:
        """What an act on this file's columns gives; its refusals become MediaError and name the file."""
        with self._refused():
            return act(*arguments)

    @contextmanager
    def _opened(self) -> Iterator[pq.ParquetFile]:
        with open_input(self.path) as file, self._refused():
            yield pq.ParquetFile(file, page_checksum_verification=True, pre_buffer=False)  # whose threads outlive it

    @contextmanager
    def _refused(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, ValueError, KeyError, IndexError, OverflowError, OSError, MemoryError) as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise MediaError(
                f"{shown(self.path)} cannot be read ({reason}); remove it and run codec tokenize again"
            ) from error


def _hold(file: BinaryIO, rows: Iterable[Row], made: Made) -> Kinds:
    """Put rows into a temporary file, metas as JSON, until the types of their columns are known; those types."""
    kinds: Kinds = {}
    keys = set[str]()
    held = pa.schema([*schema(made, {}), ("meta", pa.string())])
    with pa.ipc.new_stream(file, held) as stream:
        for batch in _grouped(rows):
            for row in batch:
                if row.key in keys:
                    raise InputError(f"the key {row.key!r} was given twice; each item wants its own")
                keys.add(row.key)
                kinds = joined(kinds, row.meta)
            texts = pa.array([json.dumps(dict(row.meta), sort_keys=True) for row in batch], pa.string())
            stream.write_batch(table(batch, texts, made, held))
    return kinds


def _grouped(rows: Iterable[Row]) -> Iterator[list[Row]]:
    group, values = list[Row](), 0
    for row in rows:
        group.append(row)
        values += row.values.size
        if len(group) == ROWS or values >= VALUES:
            yield group
            group, values = [], 0
    if group:
        yield group
