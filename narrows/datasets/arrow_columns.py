"""Tokenized items as columns of Arrow, and back.

key      text
codes    the codes (S, K, *grid) of an item as one list: the K codes of the first position of the first group of
         channels, then those of its next position, ..., then the next group; images row by row, video frame by frame.
         Integers of 16, 32 or 64 bits, the narrowest that hold every codebook. Or `latents` (S, D, *grid), float16, in
         that order
frames   the latent grid of audio; of images grid_height, grid_width; of video grid_frames, grid_height, grid_width
...      the extent: sample_rate, samples, channels of audio; height, width, channels of images; frames, height, width,
         channels, rate, rate_base of video
times    only of video: the times of the frames where their rate is not constant, from 0, in units of 1 / time_base
         seconds; otherwise an empty list, and time_base is 0
number   place of the item in the source, from 0
meta     a struct with a field for each name in the metadata of the items; left out where there is none. Null: missing
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from narrows.bitstream import codebook_sizes
from narrows.bitstream.radices import check_codes, check_radices
from narrows.datasets.base import DatasetInfo, Json, TokenizedItem
from narrows.errors import InputError
from narrows.media.extents import MAX_RATE, Extent
from narrows.media.table import MEDIA, medium_named
from narrows.media.video.signal import check_times
from narrows.records import parse_json, to_record

FORMAT = 4
METADATA, DIGEST = b"narrows", b"narrows.sha256"  # names in the key-value metadata of a file
MetaType = Literal["bool", "int", "float", "text", "json"]
MetaTypes = Mapping[str, MetaType]
_TIMES = pa.list_(pa.field("element", pa.int64()))
_ARROW_TYPES: Mapping[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int": pa.int64(),
    "float": pa.float64(),
    "text": pa.string(),
    "json": pa.string(),
}


@dataclass(frozen=True)
class ShardMetadata:
    """The metadata of a file: its format, what its items have in common, and the types of the fields of `meta`."""

    format: int
    info: DatasetInfo
    meta_types: MetaTypes


def with_meta(types: MetaTypes, meta: Mapping[str, Json]) -> MetaTypes:
    """Types that also hold one more `meta`. Integers and floats become floats; any other mixture becomes JSON text."""
    more = {name: _type_of(value) for name, value in meta.items() if value is not None}
    return merge_types(types, more)


def merge_types(first: MetaTypes, second: MetaTypes) -> MetaTypes:
    """Types that hold what either holds, by name, sorted by name."""
    merged = {name: _merge(first.get(name), second.get(name)) for name in sorted({*first, *second})}
    return first if merged == first else merged


def arrow_schema(info: DatasetInfo, types: MetaTypes) -> pa.Schema:
    """The columns of a file, with its ShardMetadata as JSON and a SHA-256 of that."""
    _check_info(info)
    extent: Any = MEDIA[info.medium].extent
    grid = [(name, pa.int32()) for name in extent.grid_names]
    sizes = [(field.name, pa.int64()) for field in fields(extent)]
    sizes += [("time_base", pa.int64()), ("times", _TIMES)] if _has_times(info) else []
    meta = [("meta", pa.struct([(name, _ARROW_TYPES[type_]) for name, type_ in types.items()]))] if types else []
    values = (info.kind, pa.list_(pa.field("element", _value_type(info))))
    text = json.dumps(asdict(ShardMetadata(FORMAT, info, dict(types))), sort_keys=True).encode()
    return pa.schema([("key", pa.string()), values, *grid, *sizes, ("number", pa.int64()), *meta], _with_digest(text))


def read_metadata(metadata: Mapping[bytes, bytes] | None) -> ShardMetadata:
    """The ShardMetadata in the metadata of a file.

    Raises InputError, whose message is a part of a sentence, where there is none that can be used.
    """
    text = (metadata or {}).get(METADATA)
    if metadata is None or text is None:
        raise InputError("it holds no tokens of this library")
    if _with_digest(text) != {name: metadata.get(name) for name in (METADATA, DIGEST)}:
        raise InputError("its metadata was changed")
    stored = parse_json(text)
    if isinstance(stored, dict) and isinstance(stored.get("format"), int) and stored["format"] > FORMAT:
        raise InputError(f"it has format {stored['format']}, this version reads up to {FORMAT}: upgrade narrows")
    found = to_record(ShardMetadata, stored)
    _check_info(found.info)
    return found


def to_batch(
    items: Sequence[TokenizedItem], meta: pa.Array | None, info: DatasetInfo, schema: pa.Schema
) -> pa.RecordBatch:
    """Items as a batch.

    Args:
        items: the items.
        meta: the last column, if there is one.
        info: of the data set.
        schema: of the batch.

    Raises:
        InputError: for an item that does not fit `info`.
    """
    flat = [_flat(item, info) for item in items]
    dtype = f"{'f' if info.kind == 'latents' else 'i'}{_value_type(info).bit_width // 8}"
    values = pa.array(np.concatenate(flat).astype(dtype, copy=False))
    offsets = pa.array(np.cumsum([0, *map(len, flat)]), pa.int32())
    lists = pa.ListArray.from_arrays(offsets, values, schema.field(1).type)
    grids = [pa.array(axis, pa.int32()) for axis in zip(*(item.values.shape[2:] for item in items), strict=True)]
    extents = [asdict(item.extent) for item in items]
    sizes = [pa.array([extent[name] for extent in extents], pa.int64()) for name in extents[0]]
    numbers = pa.array([item.number for item in items], pa.int64())
    if _has_times(info):
        bases = [math.lcm(*(time.denominator for time in item.times or ())) if item.times else 0 for item in items]
        times = [[int(time * base) for time in item.times or ()] for item, base in zip(items, bases, strict=True)]
        sizes += [pa.array(bases, pa.int64()), pa.array(times, _TIMES)]
    columns = [pa.array([item.key for item in items], pa.string()), lists, *grids, *sizes, numbers]
    return pa.RecordBatch.from_arrays([*columns, *([] if meta is None else [meta])], schema=schema)


def meta_column(metas: Iterable[Mapping[str, Json]], types: MetaTypes) -> pa.Array:
    """The column `meta`."""
    cells = [{name: _cell(meta.get(name), type_) for name, type_ in types.items()} for meta in metas]
    return pa.array(cells, pa.struct([(name, _ARROW_TYPES[type_]) for name, type_ in types.items()]))


class RowGroup:
    """The rows of one group of a file, as they were read; converts them to items one at a time.

    Raises InputError, whose message is a part of a sentence, for rows that are no items.
    """

    def __init__(self, table: pa.Table, metadata: ShardMetadata) -> None:
        self._metadata, info = metadata, metadata.info
        self._columns = {name: table.column(name).combine_chunks() for name in table.column_names}
        for name, column in self._columns.items():
            if column.null_count and name != "meta":
                raise InputError(f"its column {name} has missing values")
        lists = self._columns[info.kind]
        if lists.values.null_count:
            raise InputError(f"its column {info.kind} has missing values")
        self._offsets, self._values = lists.offsets.to_numpy(), lists.values.to_numpy(zero_copy_only=True)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def item(self, row: int) -> TokenizedItem:
        """The item of a row."""
        info, types = self._metadata.info, self._metadata.meta_types
        extent_type: Any = MEDIA[info.medium].extent
        grid = [self._integer(name, row) for name in extent_type.grid_names]
        extent = extent_type(*[self._integer(field.name, row) for field in fields(extent_type)])
        flat = self._values[self._offsets[row] : self._offsets[row + 1]]
        groups = _groups(extent, info)
        if len(flat) != groups * info.depth * math.prod(grid) or min(grid) < 1:
            raise InputError(f"it has {len(flat)} values for a grid {tuple(grid)} in row {row}")
        values = flat.reshape(groups, *grid, info.depth)
        key = self._columns["key"][row].as_py()
        meta, number = self._meta(row, types), self._integer("number", row)
        times = self._times(row) if _has_times(info) else None
        item = TokenizedItem(key, np.moveaxis(values, -1, 1), extent, meta, number, times)
        check_item(item, info)
        return item

    def _integer(self, name: str, row: int) -> int:
        return self._columns[name][row].as_py()

    def _times(self, row: int) -> tuple[Fraction, ...] | None:
        base, units = self._integer("time_base", row), self._columns["times"][row].as_py()
        if (base == 0) != (not units) or not 0 <= base <= MAX_RATE or None in units:
            raise InputError(f"it has {len(units)} times in units of 1 / {base} s in row {row}")
        return tuple(Fraction(unit, base) for unit in units) or None

    def _meta(self, row: int, types: MetaTypes) -> dict[str, Json]:
        cells = (self._columns["meta"][row].as_py() if types else None) or {}
        return {
            name: parse_json(value) if types[name] == "json" else value  # type: ignore[misc]
            for name, value in cells.items()
            if value is not None
        }


def check_item(item: TokenizedItem, info: DatasetInfo) -> None:
    """Raise InputError unless medium, shape, type and range of an item are those of the data set."""
    values, extent = item.values, item.extent
    if extent.medium != info.medium:
        raise InputError(f"expected items of {info.medium}, got {item.key!r} of {extent.medium}")
    axes = 2 + extent.axes
    if values.ndim != axes or values.shape[:2] != (_groups(extent, info), info.depth) or 0 in values.shape:
        shape = f"({_groups(extent, info)}, {info.depth}, *grid) with {extent.axes} grid axes"
        raise InputError(f"expected values {shape} for {item.key!r}, got shape {values.shape}")
    if info.kind == "codes":
        check_codes(values, info.radices)  # type: ignore[arg-type]
    elif values.dtype != np.float16 or not np.isfinite(values).all():
        raise InputError(f"expected finite float16 latents for {item.key!r}, got {values.dtype}")
    _check_times(item)


def _check_times(item: TokenizedItem) -> None:
    if item.times is None:
        return
    frames = getattr(item.extent, "frames", 0)
    if len(item.times) != frames:
        raise InputError(f"expected {frames} times for {item.key!r}, one per frame, got {len(item.times)}")
    check_times(item.times)


def _flat(item: TokenizedItem, info: DatasetInfo) -> NDArray[np.generic]:
    check_item(item, info)
    for text in (item.key, *item.meta):
        if not _is_text(text):
            raise InputError(f"expected keys and names in meta as text in UTF-8, got {text!r}; rename it")
    return np.moveaxis(item.values, 1, -1).reshape(-1)


def _check_info(info: DatasetInfo) -> None:
    if info.kind == "codes":
        check_radices(info.radices)
    fits = info.depth == len(info.radices) if info.kind == "codes" else info.depth > 0 and not info.radices
    extent = medium_named(info.medium).extent
    if not fits or len(info.strides) != extent.axes:
        raise InputError(f"expected a depth and strides that fit kind, radices and medium, got {info}")
    rate = 1 if info.medium != "audio" else info.sample_rate or 0
    extent.of_grid((1,) * extent.axes, info.strides, info.channels, rate)  # raises InputError for numbers out of range


def _has_times(info: DatasetInfo) -> bool:
    return info.medium == "video"


def _groups(extent: Extent, info: DatasetInfo) -> int:
    return -(-extent.channels // info.channels)


def _value_type(info: DatasetInfo) -> pa.DataType:
    if info.kind == "latents":
        return pa.float16()
    largest = max(codebook_sizes(info.radices)) - 1
    return pa.int16() if largest < 1 << 15 else pa.int32() if largest < 1 << 31 else pa.int64()


def _with_digest(text: bytes) -> dict[bytes, bytes]:
    return {METADATA: text, DIGEST: hashlib.sha256(text).hexdigest().encode()}


def _type_of(value: Json) -> MetaType:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int) and -(1 << 63) <= value < 1 << 63:
        return "int"
    if isinstance(value, float):
        return "float"
    return "text" if isinstance(value, str) and _is_text(value) else "json"


def _is_text(value: str) -> bool:
    """Whether UTF-8 can hold it; it cannot hold lone surrogates, as in file names that are not UTF-8."""
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _merge(first: MetaType | None, second: MetaType | None) -> MetaType:
    if first is None or second is None or first == second:
        return first or second or "json"
    return "float" if {first, second} == {"int", "float"} else "json"


def _cell(value: Json, type_: MetaType) -> Json:
    if value is None:
        return None
    if type_ == "json":
        return json.dumps(value, sort_keys=True)
    return float(value) if type_ == "float" and isinstance(value, int) else value
