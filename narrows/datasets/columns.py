"""Rows as columns of Arrow, and back.

key      text
codes    the codes (C, K, *grid) of a row as one list, frame-major: the K codes of the first position of the first
         signal, then those of its next position, ..., then the next signal; pictures row by row. Integers of 16,
         32 or 64 bits, the narrowest that hold every codebook. Or `latents`: (C, D, *grid), in that order, float16
frames   the grid of sound; of pictures grid_height, grid_width
...      the extent: sample_rate, samples, channels of sound; height, width, channels of pictures
meta     a struct with a field for each name in the metas of the rows; none where they have nothing. Null: not there
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from narrows.bitstream import codebook_sizes
from narrows.bitstream.radices import check_codes, check_radices
from narrows.datasets.base import Json, Made, Row
from narrows.errors import InputError
from narrows.media.extents import Extent
from narrows.media.table import MEDIA, medium_named
from narrows.records import parsed, record

FORMAT = 2
ABOUT, DIGEST = b"narrows", b"narrows.sha256"  # names in the key-value metadata of a file
Kind = Literal["bool", "int", "float", "text", "json"]
Kinds = Mapping[str, Kind]
_TYPES: Mapping[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int": pa.int64(),
    "float": pa.float64(),
    "text": pa.string(),
    "json": pa.string(),
}


@dataclass(frozen=True)
class About:
    """What a file says of itself: the constants of its rows, and what the fields of `meta` hold."""

    format: int
    made: Made
    kinds: Kinds


def joined(kinds: Kinds, meta: Mapping[str, Json]) -> Kinds:
    """Kinds that also hold one more meta. Integers among floats are floats; any other mixture is JSON in text."""
    more = {name: _kind(value) for name, value in meta.items() if value is not None}
    return merged(kinds, more)


def merged(first: Kinds, second: Kinds) -> Kinds:
    """Kinds that hold what either holds, by name, in the order of names."""
    both = {name: _either(first.get(name), second.get(name)) for name in sorted({*first, *second})}
    return first if both == first else both


def schema(made: Made, kinds: Kinds) -> pa.Schema:
    """The columns of a file, with all that is constant in its metadata."""
    _check_made(made)
    kind: Any = MEDIA[made.medium].extent
    integer = [(name, pa.int32()) for name in kind.grid_names]
    extent = [(field.name, pa.int64()) for field in fields(kind)]
    meta = [("meta", pa.struct([(name, _TYPES[kind]) for name, kind in kinds.items()]))] if kinds else []
    values = (made.kind, pa.list_(pa.field("element", _numbers(made))))
    text = json.dumps(asdict(About(FORMAT, made, dict(kinds))), sort_keys=True).encode()
    return pa.schema([("key", pa.string()), values, *integer, *extent, *meta], _signed(text))


def about(metadata: Mapping[bytes, bytes] | None) -> About:
    """What a file's metadata says. Raises InputError, with a part of a sentence, where that cannot be used."""
    text = (metadata or {}).get(ABOUT)
    if metadata is None or text is None:
        raise InputError("no tokens of this library are in it")
    if _signed(text) != {name: metadata.get(name) for name in (ABOUT, DIGEST)}:
        raise InputError("its metadata was changed")
    said = parsed(text)
    if isinstance(said, dict) and isinstance(said.get("format"), int) and said["format"] > FORMAT:
        raise InputError(f"it has format {said['format']}, this version reads up to {FORMAT}: upgrade narrows")
    found = record(About, said)
    _check_made(found.made)
    return found


def table(rows: Sequence[Row], metas: pa.Array | None, made: Made, kind: pa.Schema) -> pa.RecordBatch:
    """Rows as a batch; `metas` is their last column, if there is one. Raises InputError for a row that does not fit."""
    flat = [_flat(row, made) for row in rows]
    values = pa.array(np.concatenate(flat).astype(_numbers(made).to_pandas_dtype(), copy=False))
    lists = pa.ListArray.from_arrays(pa.array(np.cumsum([0, *map(len, flat)]), pa.int32()), values, kind.field(1).type)
    grids = [pa.array(axis, pa.int32()) for axis in zip(*(row.values.shape[2:] for row in rows), strict=True)]
    sizes = [asdict(row.extent) for row in rows]
    extents = [pa.array([size[name] for size in sizes], pa.int64()) for name in sizes[0]]
    columns = [pa.array([row.key for row in rows], pa.string()), lists, *grids, *extents]
    return pa.RecordBatch.from_arrays([*columns, *([] if metas is None else [metas])], schema=kind)


def metas(given: Iterable[Mapping[str, Json]], kinds: Kinds) -> pa.Array:
    """The column `meta`."""
    cells = [{name: _cell(meta.get(name), kind) for name, kind in kinds.items()} for meta in given]
    return pa.array(cells, pa.struct([(name, _TYPES[kind]) for name, kind in kinds.items()]))


class Columns:
    """Some rows as they were read, one at a time. Raises InputError, with a part of a sentence, for what no row is."""

    def __init__(self, read: pa.Table, about: About) -> None:
        self._about, made = about, about.made
        self._columns = {name: read.column(name).combine_chunks() for name in read.column_names}
        for name, column in self._columns.items():
            if column.null_count and name != "meta":
                raise InputError(f"its column {name} has gaps")
        lists = self._columns[made.kind]
        if lists.values.null_count:
            raise InputError(f"its column {made.kind} has gaps")
        self._ends, self._values = lists.offsets.to_numpy(), lists.values.to_numpy(zero_copy_only=True)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def row(self, index: int) -> Row:
        """One of them."""
        made, kinds = self._about.made, self._about.kinds
        kind: Any = MEDIA[made.medium].extent
        grid = [self._number(name, index) for name in kind.grid_names]
        extent = kind(*[self._number(field.name, index) for field in fields(kind)])
        flat = self._values[self._ends[index] : self._ends[index + 1]]
        signals = _groups(extent, made)
        if len(flat) != signals * made.books * math.prod(grid) or min(grid) < 1:
            raise InputError(f"it has {len(flat)} numbers for a grid {tuple(grid)} in row {index}")
        values = flat.reshape(signals, *grid, made.books)
        row = Row(self._columns["key"][index].as_py(), np.moveaxis(values, -1, 1), extent, self._meta(index, kinds))
        check(row, made)
        return row

    def _number(self, name: str, index: int) -> int:
        return self._columns[name][index].as_py()

    def _meta(self, index: int, kinds: Kinds) -> dict[str, Json]:
        cells = (self._columns["meta"][index].as_py() if kinds else None) or {}
        return {
            name: parsed(value) if kinds[name] == "json" else value  # type: ignore[misc]
            for name, value in cells.items()
            if value is not None
        }


def check(row: Row, made: Made) -> None:
    """Raise InputError unless a row is of this making: medium, signals, codebooks, numbers in their ranges."""
    values, extent = row.values, row.extent
    if extent.medium != made.medium:
        raise InputError(f"{row.key!r} is of {extent.medium}, in a data set of {made.medium}")
    axes = 2 + extent.axes
    if values.ndim != axes or values.shape[:2] != (_groups(extent, made), made.books) or 0 in values.shape:
        wanted = f"({_groups(extent, made)}, {made.books}, *grid)"
        raise InputError(f"{row.key!r} has values of shape {values.shape}, {wanted} with {extent.axes} axes wanted")
    if made.kind == "codes":
        check_codes(values, made.radices)  # type: ignore[arg-type]
    elif values.dtype != np.float16 or not np.isfinite(values).all():
        raise InputError(f"{row.key!r} has latents of type {values.dtype}; finite float16 wanted")


def _flat(row: Row, made: Made) -> NDArray[np.generic]:
    check(row, made)
    for text in (row.key, *row.meta):
        if not _is_text(text):
            raise InputError(f"{text!r} is a key or a name in a meta, and no text in UTF-8; rename it")
    return np.moveaxis(row.values, 1, -1).reshape(-1)


def _check_made(made: Made) -> None:
    if made.kind == "codes":
        check_radices(made.radices)
    fits = made.books == len(made.radices) if made.kind == "codes" else made.books > 0 and not made.radices
    extent = medium_named(made.medium).extent
    if not fits or len(made.strides) != extent.axes:
        raise InputError(f"{made} given, whose numbers do not fit each other")
    extent.of(made.strides, made.channels, made.rate or 0)  # raises InputError for numbers out of range


def _groups(extent: Extent, made: Made) -> int:
    return -(-extent.channels // made.channels)


def _numbers(made: Made) -> pa.DataType:
    if made.kind == "latents":
        return pa.float16()
    largest = max(codebook_sizes(made.radices)) - 1
    return pa.int16() if largest < 1 << 15 else pa.int32() if largest < 1 << 31 else pa.int64()


def _signed(text: bytes) -> dict[bytes, bytes]:
    return {ABOUT: text, DIGEST: hashlib.sha256(text).hexdigest().encode()}


def _kind(value: Json) -> Kind:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int) and -(1 << 63) <= value < 1 << 63:
        return "int"
    if isinstance(value, float):
        return "float"
    return "text" if isinstance(value, str) and _is_text(value) else "json"


def _is_text(value: str) -> bool:
    """Whether UTF-8 can hold it; half of a pair, as in names of files that are no text, it cannot."""
    return not any("\ud800" <= each <= "\udfff" for each in value)


def _either(first: Kind | None, second: Kind | None) -> Kind:
    if first is None or second is None or first == second:
        return first or second or "json"
    return "float" if {first, second} == {"int", "float"} else "json"


def _cell(value: Json, kind: Kind) -> Json:
    if value is None:
        return None
    if kind == "json":
        return json.dumps(value, sort_keys=True)
    return float(value) if kind == "float" and isinstance(value, int) else value
