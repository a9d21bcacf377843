"""Columnar files with a column of media: Parquet, and the Arrow streams of Hugging Face's `save_to_disk`.

    image: struct<bytes, path> or bytes     id       label        ─▶ item "id" with meta {"label": …}
    audio: path, relative to the table      text     speaker

Listing a table reads all columns but the one of media.
"""

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow
from pyarrow import compute, ipc, parquet, types

from narrows.datasets.base import Json, Location, SourceItem
from narrows.datasets.sources.manifests import KEYS, media_columns
from narrows.errors import InputError
from narrows.media.files import quoted
from narrows.media.folders import File, size, suffix

MAX_TEXT = 1 << 20  # largest text of `meta`, in bytes
_BATCH_ROWS, _BATCH_BYTES = 1024, 32 << 20  # read at once, without the column of media
Cells = Iterator[tuple[int, Any]]  # batches of rows of a column, each with the number of its first row


def columnar_items(files: Sequence[File], medium: str) -> Iterator[SourceItem]:
    """An item for each row. Its key is in a column `key` or `id`, else made from the name of the file and the row.

    Columns of text, numbers, booleans, and lists and structs of them become `meta`; the `path` beside bytes does, too.
    Raises InputError for a file that cannot be read, has no column of media, a column twice or a text over MAX_TEXT.
    """
    for file in files:
        with _explained(file.path):
            yield from (_parquet_items if suffix(file.path) == ".parquet" else _stream_items)(file, medium)


def cells(path: str, column: str, row: int) -> Cells:
    """A column of a table, from the batch with a row on. Raises pyarrow.ArrowException and OSError."""
    if suffix(path) == ".parquet":
        with parquet.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as table:
            first = 0
            for index in range(table.metadata.num_row_groups):
                group = table.metadata.row_group(index)
                if first + group.num_rows <= row:
                    first += group.num_rows
                    continue
                # Row by row: the memory of a row is unknown before, since many may share one value of a dictionary.
                for batch in table.iter_batches(1, row_groups=[index], columns=[column], use_threads=False):
                    yield first, batch.column(0)
                    first += len(batch)
    else:
        for first, batch in _batches(path):
            if first + len(batch) > row:
                cell = batch.column(batch.schema.get_field_index(column))
                cell.validate(full=True)  # pyarrow follows offsets, which may be wrong in a damaged file
                yield first, cell


def _parquet_items(file: File, medium: str) -> Iterator[SourceItem]:
    with parquet.ParquetFile(file.path, pre_buffer=False) as table:
        column = _media_column(table.schema_arrow, file, medium)
        columns = [name for name in _json_columns(table.schema_arrow) if name != column]
        texts = [name for name in columns if _is_text(table.schema_arrow.field(name).type)]
    with parquet.ParquetFile(file.path, read_dictionary=texts, pre_buffer=False) as table:
        of_path = [f"{column}.path"] if types.is_struct(table.schema_arrow.field(column).type) else []
        has_bytes = not _is_text(table.schema_arrow.field(column).type)
        row = 0
        for index in range(table.metadata.num_row_groups):
            group = table.metadata.row_group(index)
            mean = _bytes_of(group, column) // max(1, group.num_rows)
            read = columns + (of_path if has_bytes else [column])
            total = sum(_bytes_of(group, name) for name in columns)
            rows = min(_BATCH_ROWS, max(1, _BATCH_BYTES * group.num_rows // max(1, total)))
            for batch in table.iter_batches(rows, row_groups=[index], columns=read, use_threads=False):
                batch.validate(full=True)
                yield from _batch_items(batch, [mean] * len(batch), column, file, row)
                row += len(batch)


def _stream_items(file: File, medium: str) -> Iterator[SourceItem]:
    for first, batch in _batches(file.path):
        column = _media_column(batch.schema, file, medium)
        batch = batch.select([*[name for name in _json_columns(batch.schema) if name != column], column])
        batch.validate(full=True)
        yield from _batch_items(batch, _lengths(batch.column(column)), column, file, first)


def _batches(path: str) -> Iterator[tuple[int, Any]]:
    """The batches of an Arrow stream, each with its first row; memory-mapped."""
    first = 0
    with pyarrow.memory_map(path) as source, ipc.open_stream(source) as stream:
        for batch in stream:
            yield first, batch
            first += len(batch)


def _batch_items(batch: Any, sizes: Sequence[int | None], column: str, file: File, first: int) -> Iterator[SourceItem]:
    names = batch.schema.names
    key_column = next((name for name in KEYS if name in names and name != column), None)
    values = {name: _json_values(batch.column(name)) for name in names if name != column}
    media = batch.schema.field(column).type if column in names else None
    if media is not None and types.is_struct(media):
        values.setdefault("path", batch.column(column).field("path").to_pylist())
    paths = batch.column(column).to_pylist() if media is not None and _is_text(media) else None
    stem = os.path.splitext(file.name)[0]
    for index, num_bytes in enumerate(sizes):
        row = first + index
        meta = {name: column_values[index] for name, column_values in values.items() if name != key_column}
        key = None if key_column is None else values[key_column][index]
        if paths is None:
            location = Location(file.path, size=num_bytes, row=row, column=column)
        else:
            full = os.path.join(os.path.dirname(file.path), paths[index] or "")
            location = Location(full, size=size(full))
        yield SourceItem(f"{stem}/{row:08d}" if key is None else str(key), location, meta)


def _media_column(schema: Any, file: File, medium: str) -> str:
    """A column of bytes with a name of the medium or `bytes`; else one of paths with such a name; else the only one of
    bytes."""
    if len(set(schema.names)) < len(schema.names):
        raise InputError(f"expected columns with different names, got one twice in {quoted(file.path)}; rename it")
    with_bytes = [field.name for field in schema if _has_bytes(field.type)]
    named = [name for name in (*media_columns(medium), "bytes") if name in with_bytes]
    named += [name for name in media_columns(medium) if name in schema.names and _is_text(schema.field(name).type)]
    if named or len(with_bytes) == 1:
        return (named or with_bytes)[0]
    columns = ", ".join(f"{field.name}: {_type_name(field.type)}" for field in schema)
    raise InputError(
        f"expected a column {' or '.join(media_columns(medium))} of bytes, struct<bytes, path> or paths in "
        f"{quoted(file.path)}, got {columns or 'no columns'}; rename the column"
    )


def _has_bytes(type_: Any) -> bool:
    if types.is_struct(type_):
        names = [field.name for field in type_]
        return "bytes" in names and "path" in names and _has_bytes(type_.field("bytes").type)
    return types.is_binary(type_) or types.is_large_binary(type_)


def _is_text(type_: Any) -> bool:
    return types.is_string(type_) or types.is_large_string(type_)


def _type_name(type_: Any) -> str:
    name = str(type_)
    return name if len(name) <= 40 else name[:40] + "…"


def _json_columns(schema: Any) -> list[str]:
    """Names of the columns whose values are JSON."""
    return [field.name for field in schema if _is_json(field.type)]


def _is_json(type_: Any) -> bool:
    if types.is_dictionary(type_) or types.is_list(type_) or types.is_large_list(type_):
        return _is_json(type_.value_type)
    if types.is_struct(type_):
        return all(_is_json(field.type) for field in type_)
    return any(is_type(type_) for is_type in (_is_text, types.is_integer, types.is_floating, types.is_boolean))


def _json_values(column: Any) -> list[Json]:
    texts = column.dictionary if types.is_dictionary(column.type) else column
    if _is_text(texts.type) and (compute.max(compute.binary_length(texts)).as_py() or 0) > MAX_TEXT:
        raise pyarrow.ArrowInvalid(f"a text of more than {MAX_TEXT} bytes")
    return [_finite(value) for value in column.to_pylist()]


def _finite(value: Any) -> Json:
    """A value without the numbers that JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_finite(element) for element in value]
    return {name: _finite(element) for name, element in value.items()} if isinstance(value, dict) else value


def _bytes_of(group: Any, column: str) -> int:
    """Uncompressed bytes of a column, or of the bytes in it, as the file claims."""
    chunks = (group.column(index) for index in range(group.num_columns))
    sizes = {chunk.path_in_schema: chunk.total_uncompressed_size for chunk in chunks}
    return sizes.get(f"{column}.bytes") or sum(size for path, size in sizes.items() if path.split(".")[0] == column)


def _lengths(column: Any) -> list[int | None]:
    data = column.field("bytes") if types.is_struct(column.type) else column
    return compute.binary_length(data).to_pylist()


@contextmanager
def _explained(path: str) -> Iterator[None]:
    try:
        yield
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{quoted(path)} cannot be read as a table ({reason}); get another copy") from error
