"""Results as tables: columns by name, and their bytes as CSV and Parquet."""

import csv
import io
import json
from collections.abc import Mapping, Sequence

import pyarrow
from pyarrow import parquet

from narrows.evaluation.results import CODING, Results, Summary

Cell = str | int | float | None
Table = Mapping[str, Sequence[Cell]]  # columns of one length

_INTEGERS = frozenset({"file_bytes", "payload_bytes"})
_TEXTS = frozenset({"item", "point", "family", "failures"})


def rows(results: Results) -> Table:
    """One line for each item at each point: its bytes, its rate, a column for each metric, and why some are empty."""
    points = {point.name: point for point in results.points}
    table: dict[str, list[Cell]] = {
        "item": [row.item for row in results.rows],
        "point": [row.point for row in results.rows],
        "family": [points[row.point].family for row in results.rows],
        "setting": [points[row.point].setting for row in results.rows],
        "amount": [row.amount for row in results.rows],
        "file_bytes": [row.file_bytes if row.coded else None for row in results.rows],
        "payload_bytes": [row.payload_bytes if row.coded else None for row in results.rows],
        "rate": [results.rate(row) if row.coded else None for row in results.rows],
    }
    for measure in results.metrics:
        table[measure.name] = [row.metrics.get(measure.name) for row in results.rows]
    reasons = [json.dumps(dict(sorted(row.failures.items())), ensure_ascii=False) for row in results.rows]
    return table | {"failures": reasons}


def summary(results: Results) -> Table:
    """One line for each point: mean, low and high of the rate and of each metric, how many items failed, speed."""
    lines = [_line(results, told) for told in results.summary()]
    return {name: [line[name] for line in lines] for name in (lines[0] if lines else {})}


def _line(results: Results, told: Summary) -> dict[str, Cell]:
    point, speed = told.point, told.point.speed
    line: dict[str, Cell] = {"point": point.name, "family": point.family, "setting": point.setting}
    line |= {"items": told.items, "failed": told.failed[CODING]}
    intervals = {"rate": told.rate} | {m.name: told.metrics.get(m.name) for m in results.metrics}
    for name, interval in intervals.items():
        for end in ("mean", "low", "high"):
            line[f"{name}_{end}"] = getattr(interval, end, None)
        if name == "rate":
            line |= {"rate_total": told.total, "payload_total": told.payload}
        else:
            line[f"{name}_failed"] = told.failed[name]
    for name in ("encode", "decode", "peak_mib", "parameters", "flops"):
        line[name] = getattr(speed, name, None)
    return line


def as_csv(table: Table) -> bytes:
    """UTF-8, commas, lines ended by a line feed; None is an empty cell."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*table.values(), strict=True))
    return text.getvalue().encode()


def as_parquet(table: Table) -> bytes:
    """One row group, zstd; the columns' types do not depend on what is in them."""
    columns = {name: pyarrow.array(values, _type(name)) for name, values in table.items()}
    sink = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), sink, compression="zstd")
    return sink.getvalue()


def _type(column: str) -> pyarrow.DataType:
    if column in _TEXTS:
        return pyarrow.string()
    return pyarrow.int64() if column in _INTEGERS else pyarrow.float64()
