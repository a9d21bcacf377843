"""Tables with a column of media: Parquet files, and the Arrow streams of Hugging Face's `save_to_disk`.

    image: struct<bytes, path> or bytes     id       label        ─▶ item "id" with meta {"label": …}
    audio: path, relative to the table      text     speaker

Bytes of media are left where they are; only the other columns are read to list a table.
"""

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow
from pyarrow import compute, ipc, parquet, types

from narrows.datasets.base import Entry, Json, Place
from narrows.datasets.sources.manifests import KEYS, columns_of
from narrows.errors import InputError
from narrows.media.files import quoted
from narrows.media.folders import File, size, suffix

LONGEST_TEXT = 1 << 20  # bytes of a text that travels as meta
_BATCH_ROWS, _BATCH_BYTES = 1024, 32 << 20  # that are read at once, of all columns but those of media
Cells = Iterator[tuple[int, Any]]  # batches of rows of a column, each with the number of its first row


def table_entries(files: Sequence[File], medium: str) -> Iterator[Entry]:
    """One of each row. The key is that of a column key or id, else made of the table's name and the row.

    Columns of texts, numbers, truth values, and lists and structs of them are the meta; the `path` beside bytes is too.
    Raises InputError for what is no such table, has no column of media, a column twice or a text beyond LONGEST_TEXT.
    """
    for file in files:
        with _told(file.path):
            yield from (_parquet_entries if suffix(file.path) == ".parquet" else _stream_entries)(file, medium)


def cells(path: str, column: str, row: int) -> Cells:
    """The column of a table from the batch that holds `row` on. Raises pyarrow.ArrowException and OSError."""
    if suffix(path) == ".parquet":
        with parquet.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as table:
            first = 0
            for index in range(table.metadata.num_row_groups):
                group = table.metadata.row_group(index)
                if first + group.num_rows <= row:
                    first += group.num_rows
                    continue
                # Row by row: what rows take in memory is nowhere told, since many may share one value of a dictionary.
                for batch in table.iter_batches(1, row_groups=[index], columns=[column], use_threads=False):
                    yield first, batch.column(0)
                    first += len(batch)
    else:
        for first, batch in _batches(path):
            if first + len(batch) > row:
                cell = batch.column(batch.schema.get_field_index(column))
                cell.validate(full=True)  # offsets are numbers in a file, and pyarrow follows them
                yield first, cell


def _parquet_entries(file: File, medium: str) -> Iterator[Entry]:
    with parquet.ParquetFile(file.path, pre_buffer=False) as table:
        column = _media_column(table.schema_arrow, file, medium)
        leaves = [name for name in _plain(table.schema_arrow) if name != column]
        texts = [name for name in leaves if _is_text(table.schema_arrow.field(name).type)]
    with parquet.ParquetFile(file.path, read_dictionary=texts, pre_buffer=False) as table:
        of_path = [f"{column}.path"] if types.is_struct(table.schema_arrow.field(column).type) else []
        held = not _is_text(table.schema_arrow.field(column).type)
        row = 0
        for index in range(table.metadata.num_row_groups):
            group = table.metadata.row_group(index)
            mean = _bytes_of(group, column) // max(1, group.num_rows)
            wanted = leaves + (of_path if held else [column])
            total = sum(_bytes_of(group, name) for name in leaves)
            rows = min(_BATCH_ROWS, max(1, _BATCH_BYTES * group.num_rows // max(1, total)))
            for batch in table.iter_batches(rows, row_groups=[index], columns=wanted, use_threads=False):
                batch.validate(full=True)
                yield from _of_batch(batch, [mean] * len(batch), column, file, row)
                row += len(batch)


def _stream_entries(file: File, medium: str) -> Iterator[Entry]:
    for first, batch in _batches(file.path):
        column = _media_column(batch.schema, file, medium)
        batch = batch.select([*[name for name in _plain(batch.schema) if name != column], column])
        batch.validate(full=True)
        yield from _of_batch(batch, _lengths(batch.column(column)), column, file, first)


def _batches(path: str) -> Iterator[tuple[int, Any]]:
    """Those of an Arrow stream, with the number of their first row; their bytes are read when they are looked at."""
    first = 0
    with pyarrow.memory_map(path) as source, ipc.open_stream(source) as stream:
        for batch in stream:
            yield first, batch
            first += len(batch)


def _of_batch(batch: Any, sizes: Sequence[int | None], column: str, file: File, first: int) -> Iterator[Entry]:
    names = batch.schema.names
    of_key = next((name for name in KEYS if name in names and name != column), None)
    values = {name: _json(batch.column(name)) for name in names if name != column}
    media = batch.schema.field(column).type if column in names else None
    if media is not None and types.is_struct(media):
        values.setdefault("path", batch.column(column).field("path").to_pylist())
    paths = batch.column(column).to_pylist() if media is not None and _is_text(media) else None
    stem = os.path.splitext(file.name)[0]
    for index, bytes_ in enumerate(sizes):
        row = first + index
        meta = {name: of_name[index] for name, of_name in values.items() if name != of_key}
        key = None if of_key is None else values[of_key][index]
        if paths is None:
            place = Place(file.path, size=bytes_, row=row, column=column)
        else:
            full = os.path.join(os.path.dirname(file.path), paths[index] or "")
            place = Place(full, size=size(full))
        yield Entry(f"{stem}/{row:08d}" if key is None else str(key), place, meta)


def _media_column(schema: Any, file: File, medium: str) -> str:
    """One of bytes, called as columns of the medium are or `bytes`; else one of paths; else the only one of bytes."""
    if len(set(schema.names)) < len(schema.names):
        raise InputError(f"{quoted(file.path)} has two columns of one name; rename one")
    held = [field.name for field in schema if _holds_bytes(field.type)]
    named = [name for name in (*columns_of(medium), "bytes") if name in held]
    named += [name for name in columns_of(medium) if name in schema.names and _is_text(schema.field(name).type)]
    if named or len(held) == 1:
        return (named or held)[0]
    columns = ", ".join(f"{field.name}: {_kind(field.type)}" for field in schema)
    raise InputError(
        f"{quoted(file.path)} has the columns {columns or 'none'}; wanted is {' or '.join(columns_of(medium))}, "
        "of bytes, struct<bytes, path> or paths; rename the column"
    )


def _holds_bytes(kind: Any) -> bool:
    if types.is_struct(kind):
        names = [field.name for field in kind]
        return "bytes" in names and "path" in names and _holds_bytes(kind.field("bytes").type)
    return types.is_binary(kind) or types.is_large_binary(kind)


def _is_text(kind: Any) -> bool:
    return types.is_string(kind) or types.is_large_string(kind)


def _kind(kind: Any) -> str:
    told = str(kind)
    return told if len(told) <= 40 else told[:40] + "…"


def _plain(schema: Any) -> list[str]:
    """Columns whose values are JSON."""
    return [field.name for field in schema if _is_plain(field.type)]


def _is_plain(kind: Any) -> bool:
    if types.is_dictionary(kind) or types.is_list(kind) or types.is_large_list(kind):
        return _is_plain(kind.value_type)
    if types.is_struct(kind):
        return all(_is_plain(field.type) for field in kind)
    return any(of_kind(kind) for of_kind in (_is_text, types.is_integer, types.is_floating, types.is_boolean))


def _json(column: Any) -> list[Json]:
    texts = column.dictionary if types.is_dictionary(column.type) else column
    if _is_text(texts.type) and (compute.max(compute.binary_length(texts)).as_py() or 0) > LONGEST_TEXT:
        raise pyarrow.ArrowInvalid(f"a text of more than {LONGEST_TEXT} bytes, which does not travel along")
    return [_finite(value) for value in column.to_pylist()]


def _finite(value: Any) -> Json:
    """Without numbers that JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return {name: _finite(each) for name, each in value.items()} if isinstance(value, dict) else value


def _bytes_of(group: Any, column: str) -> int:
    """As the file claims, of a column or of the bytes in it."""
    chunks = (group.column(index) for index in range(group.num_columns))
    of_column = {chunk.path_in_schema: chunk.total_uncompressed_size for chunk in chunks}
    return of_column.get(f"{column}.bytes") or sum(
        size for path, size in of_column.items() if path.split(".")[0] == column
    )


def _lengths(column: Any) -> list[int | None]:
    held = column.field("bytes") if types.is_struct(column.type) else column
    return compute.binary_length(held).to_pylist()


@contextmanager
def _told(path: str) -> Iterator[None]:
    try:
        yield
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{quoted(path)} cannot be read as a table ({reason}); get another copy") from error
